// SPDX-License-Identifier: Apache-2.0
// Fault steps against a machine that only notes what it is asked for.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>

#include "framework/run/fault_steps.h"
#include "vm/fake/fake_machine.h"

namespace plugpull::run {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kScenario[] = R"(
  name: "x"
  disk { name: "vol" serial: "s-vol" size_mib: 8
         layer { name: "low" linear {} } layer { log_writes {} } layer { name: "top" linear {} } }
  disk { name: "bare" serial: "s-bare" size_mib: 8 }
)";

class FakeControl : public vm::DiskControl {
 public:
  Status FailRequests(size_t disk, const vm::RequestFault& fault) override {
    return Note("fail " + std::to_string(disk) + " " + std::to_string(static_cast<int>(fault.op)) +
                " nth " + std::to_string(fault.nth) +
                (fault.sector ? " sector " + std::to_string(*fault.sector) : "") +
                (fault.once ? " once" : "") + " " + std::to_string(fault.error_number));
  }
  Status Slow(size_t disk, uint32_t rate) override {
    return Note("slow " + std::to_string(disk) + " " + std::to_string(rate));
  }
  Status Heal(size_t disk) override { return Note("heal " + std::to_string(disk)); }
  Status Resize(size_t disk, Bytes size) override {
    return Note("resize " + std::to_string(disk) + " " + std::to_string(size.value));
  }
  Status Unplug(size_t disk, const os::Deadline&) override {
    return Note("unplug " + std::to_string(disk));
  }
  Status Plug(size_t disk, const vm::PlugOptions& options) override {
    return Note("plug " + std::to_string(disk) + " " + options.serial +
                (options.read_only ? " read-only" : ""));
  }
  Status PlugFiller(const std::string& serial) override { return Note("filler " + serial); }
  Result<std::vector<std::string>> TakeRequestErrors(size_t disk) override {
    return std::exchange(errors[disk], {});
  }

  std::vector<std::string> calls;
  std::map<size_t, std::vector<std::string>> errors;

 private:
  Status Note(const std::string& call) {
    calls.push_back(call);
    return OkStatus();
  }
};

class ControlledMachine : public vm::FakeMachine {
 public:
  ControlledMachine() : FakeMachine(vm::FakeScript()) {}
  vm::DiskControl* disk_control() override { return &control; }
  FakeControl control;
};

class FaultStepsTest : public ::testing::Test {
 protected:
  // Runs the steps; the first error ends it.
  Status Run(const std::string& steps, const std::string& release = "6.1.0-1") {
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kScenario + steps, &scenario_));
    faults_.emplace(scenario_, machine_, [this](const GuestRequest& request, Millis) {
      requests_.push_back(request);
      return answer_(request);
    });
    PP_RETURN_IF_ERROR(faults_->TryAll(release));
    for (int i = 0; i < scenario_.step_size(); ++i) {
      PP_RETURN_IF_ERROR(faults_->Run(scenario_.step(i), i + 1, Millis(1000)));
    }
    PP_ASSIGN_OR_RETURN(never_, faults_->Finish());
    return OkStatus();
  }
  std::vector<std::string> Words() const {
    std::vector<std::string> words;
    for (const auto& fault : faults_->faults()) words.push_back(fault.what());
    return words;
  }

  Scenario scenario_;
  std::vector<int> never_;  // steps whose moment never came
  ControlledMachine machine_;
  std::vector<GuestRequest> requests_;
  std::function<Result<Answer>(const GuestRequest&)> answer_ = [](const GuestRequest& request) {
    Answer answer;
    if (request.has_swap_layer() && !request.swap_layer().only_try() &&
        !request.swap_layer().has_when()) {
      answer.add_fault()->set_done(true);
      answer.mutable_fault(0)->set_operations(7);
    }
    if (request.has_wait_for_disk()) answer.add_text("vdc");
    return Result<Answer>(answer);
  };
  std::optional<FaultSteps> faults_;
};

TEST_F(FaultStepsTest, EachTableIsTriedBeforeTheFirstStep) {
  ASSERT_TRUE(Run(R"(
    step { fault { disk: "vol" layer: "low" delay { read_ms: 5 } } }
    step { fault { disk: "vol" layer: "top" error {} } })")
                  .ok());
  ASSERT_EQ(requests_.size(), 5u);
  EXPECT_TRUE(requests_[0].swap_layer().only_try());
  EXPECT_TRUE(requests_[1].swap_layer().only_try());
  const SwapLayer& low = requests_[2].swap_layer();
  EXPECT_EQ(low.layer(), 0u);
  EXPECT_EQ(low.mark(), "");  // the strip of marks is above it
  EXPECT_EQ(low.to().delay().read_ms(), 5u);
  const SwapLayer& top = requests_[3].swap_layer();
  EXPECT_EQ(top.layer(), 2u);
  EXPECT_EQ(top.mark(), "2");
  EXPECT_TRUE(requests_[4].has_disarm_faults());
  EXPECT_THAT(Words(), ElementsAre("fault on vol: layer low becomes delay",
                                   "fault on vol: layer top becomes error"));
  EXPECT_EQ(faults_->faults()[1].operations(), 7u);
}

TEST_F(FaultStepsTest, WhatTheKernelLacksIsTheScenariosFault) {
  const std::string step =
      R"(step { fault { disk: "vol" layer: "top" flakey { error_reads: true } } })";
  const Status old = Run(step);
  ASSERT_FALSE(old.ok());
  EXPECT_EQ(old.error().code, ErrorCode::kUser);
  EXPECT_THAT(old.error().ToString(), HasSubstr("needs >= 6.5"));
  EXPECT_TRUE(requests_.empty());
  answer_ = [](const GuestRequest&) -> Result<Answer> { return GuestError("Unrecognised"); };
  scenario_.Clear();
  const Status odd = Run(step, "6.12.1");
  ASSERT_FALSE(odd.ok());
  EXPECT_EQ(odd.error().code, ErrorCode::kUser);
  EXPECT_THAT(odd.error().ToString(), HasSubstr("not supported by this kernel (6.12.1)"));
}

TEST_F(FaultStepsTest, AMomentThatNeverCameIsSaid) {
  const auto answer = answer_;
  bool done = false;
  std::string problem;
  answer_ = [&](const GuestRequest& request) {
    if (!request.has_disarm_faults()) return answer(request);
    Answer reports;
    FaultReport& report = *reports.add_fault();
    report.set_step(1);
    report.set_done(done);
    report.set_problem(problem);
    report.set_operations(30);
    return Result<Answer>(reports);
  };
  const std::string step = R"(step { fault { disk: "vol" layer: "top" error {} }
                                     when { after_operations: 30 } })";
  EXPECT_TRUE(Run(step).ok());
  EXPECT_THAT(never_, ElementsAre(1));
  EXPECT_TRUE(faults_->faults().empty());
  EXPECT_EQ(MomentInWords(scenario_.step(0).when()), "30 operations of workloads");
  problem = "the kernel refused the table";
  scenario_.Clear();
  const Status failed = Run(step);
  ASSERT_FALSE(failed.ok()) << "its moment came, and it was not done";
  EXPECT_EQ(failed.error().code, ErrorCode::kGuest);
  EXPECT_THAT(failed.error().message, HasSubstr("refused the table"));
  problem.clear();
  done = true;
  scenario_.Clear();
  EXPECT_TRUE(Run(step).ok());
  EXPECT_TRUE(never_.empty());
  ASSERT_EQ(faults_->faults().size(), 1u);
  EXPECT_EQ(faults_->faults()[0].operations(), 30u);
}

TEST_F(FaultStepsTest, DisksCountWithTheLogsBetweenThem) {
  machine_.control.errors[2] = {"read: Input/output error"};
  ASSERT_TRUE(Run(R"(
    step { device_fault { disk: "bare" io_error { op: FLUSH nth: 4 once: false } } }
    step { device_fault { disk: "bare" io_error { sector: 9 nth: 1 } } }
    step { device_fault { disk: "vol" slow { requests_per_second: 5 } } }
    step { device_fault { disk: "bare" resize { size_mib: 16 } } }
    step { device_fault { disk: "bare" clear {} } }
    step { detach { disk: "bare" } }
    step { attach { disk: "bare" serial: "s-2" read_only: true } })")
                  .ok());
  EXPECT_THAT(machine_.control.calls,
              ElementsAre("fail 2 2 nth 4 5", "fail 2 0 nth 1 sector 9 once 5", "slow 0 5",
                          "resize 2 16777216", "heal 2", "unplug 2", "plug 2 s-2 read-only"));
  EXPECT_EQ(faults_->faults()[0].request_error(0), "read: Input/output error");
  EXPECT_THAT(Words().back(), HasSubstr("attach of bare as vdc (was vdc)"));
  // The executor looks for it anew, as large as it is now.
  const auto set_up = std::find_if(requests_.begin(), requests_.end(),
                                   [](const GuestRequest& r) { return r.has_set_up_disk(); });
  ASSERT_NE(set_up, requests_.end());
  EXPECT_EQ(set_up->set_up_disk().data_serial(), "s-2");
  EXPECT_EQ(set_up->set_up_disk().size_sectors(), 32768u);
}

TEST_F(FaultStepsTest, AnotherNameMustBeAnother) {
  const Status same = Run(R"(
    step { detach { disk: "bare" } }
    step { attach { disk: "bare" other_name: true } })");
  ASSERT_FALSE(same.ok());  // the fake guest calls every disk vdc
  EXPECT_THAT(same.error().message, HasSubstr("another name than vdc"));
  EXPECT_THAT(machine_.control.calls, ElementsAre("unplug 2", "filler filler-1", "plug 2 s-bare"));
}

}  // namespace
}  // namespace plugpull::run
