// SPDX-License-Identifier: Apache-2.0
// From plans to reports with machines that are not there: what a guest does wrong is a guest error
// of its run, leaves no recording, and keeps the console. One that does everything right, and
// leaves the log of a real guest, goes the whole way.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/image/poison.h"
#include "framework/recording/recording.h"
#include "framework/report/summary.h"
#include "framework/run/campaign.h"
#include "framework/run/guest_session.h"
#include "framework/run/recovery_log.h"
#include "framework/scenario/load.h"
#include "tests/support/program.h"
#include "vm/fake/fake_machine.h"

namespace plugpull::run {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using vm::FakeReply;
using vm::FakeScript;
using Fate = FakeReply::Fate;

const std::string kRecordings = std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/";
constexpr char kConsole[] = "[    0.000000] Linux version 6.1.0-fake\n";

class RunCampaignTest : public ::testing::Test {
 protected:
  RunCampaignTest() : folder_("run-campaign") {}

  void SetUp() override {
    auto loaded = scenario::LoadScenario(kRecordings + "small.textproto");
    ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
    Scenario small = loaded->scenario;
    small.mutable_guest()->set_boot_timeout_ms(1000);
    for (Step& step : *small.mutable_step()) step.set_timeout_ms(1000);
    small_ = small;
    Expand(small_);
    auto workdir = Workdir::Open(folder_ / "out");
    ASSERT_TRUE(workdir.ok());
    workdir_ = std::make_unique<Workdir>(*std::move(workdir));
    auto reader = recording::Reader::Open(kRecordings + "ordered");
    ASSERT_TRUE(reader.ok()) << reader.error().ToString();
    auto log = reader->ReadLog(*reader->FindDisk("vol"));
    auto traces = reader->ReadTraces("vol");
    ASSERT_TRUE(log.ok() && traces.ok());
    log_ = *std::move(log);
    trace_ = traces->at(0);
  }

  void Expand(const Scenario& scenario) {
    auto plans = scenario::ExpandPlans(scenario);
    ASSERT_TRUE(plans.ok()) << plans.error().ToString();
    plans_ = *std::move(plans);
  }
  // The same plans with one more step at their end.
  void AddStep(const std::string& text) {
    Scenario longer = small_;
    Step& step = *longer.add_step();
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &step)) << text;
    step.set_timeout_ms(1000);
    Expand(longer);
  }

  // As a guest that did what the golden recording says, until `on_request` says otherwise.
  FakeScript Script(
      const std::function<std::optional<FakeReply>(const GuestRequest&)>& on_request) {
    FakeScript script;
    script.on_request = [this, on_request](const GuestRequest& request) {
      if (on_request) {
        if (auto reply = on_request(request)) return *std::move(reply);
      }
      FakeReply reply;
      if (request.has_run_workload()) {
        *reply.progress.emplace_back().mutable_result() = trace_.result();
      } else if (request.has_query_disk()) {
        reply.answer.mutable_disk_status()->set_has_log(true);
        reply.answer.mutable_disk_status()->set_logged_entries(440);
      }
      return reply;
    };
    return script;
  }

  // Fake machines that leave a console, and on the disks what the golden recording's guest left.
  vm::MachineFactory Machines(const FakeScript& script) {
    return [this, script](const vm::MachineOptions& options) {
      WriteText(options.console_log, kConsole);
      EXPECT_EQ(options.disks.size(), 2u);
      if (write_disks_) {
        EXPECT_TRUE(os::PwriteAll(options.disks[1].fd, log_, Bytes(0)).ok());
        WriteFinalImage(options.disks[0].fd);
      }
      return vm::FakeMachineFactory(script)(options);
    };
  }
  void WriteFinalImage(int fd) {
    const auto log = blocklog::ReadLog(log_, {true, std::nullopt});
    ASSERT_TRUE(log.ok());
    for (const auto& entry : log->entries) {
      if (!entry.data.empty()) {
        EXPECT_TRUE(os::PwriteAll(fd, entry.data, entry.offset).ok());
      }
    }
  }

  CampaignOptions Options(const FakeScript& script) {
    CampaignOptions options;
    options.jobs = 2;
    options.image = GuestImage{"/nonexistent/kernel", "/nonexistent/initramfs", "tcg", "a test"};
    options.start_machine = Machines(script);
    return options;
  }
  RunReport RunOne(const FakeScript& script) {
    const ReportList reports =
        RunCampaign({{plans_[0], "small.textproto", "small/ordered"}}, *workdir_, Options(script));
    EXPECT_EQ(reports.run_size(), 1);
    status_ = report::ExitStatus(reports);
    return reports.run(0);
  }

  void ExpectGuestError(const FakeScript& script, const ::testing::Matcher<std::string>& says) {
    const RunReport report = RunOne(script);
    EXPECT_EQ(report.error_kind(), "guest") << report.error();
    EXPECT_THAT(report.error(), says);
    EXPECT_THAT(report.command(), HasSubstr("./plugpull run small.textproto --filter"));
    EXPECT_FALSE(report.as_expected());
    EXPECT_EQ(status_, 3);
    EXPECT_FALSE(fs::exists(workdir_->RecordingFolder("small/ordered")));
    EXPECT_FALSE(fs::exists(workdir_->RecordingFolder("small/ordered") + ".partial"));
    const auto console =
        os::ReadFile(workdir_->FailedFolder("small/ordered") + "/console.log", Mebibytes(1));
    ASSERT_TRUE(console.ok()) << console.error().ToString();
    EXPECT_EQ(*console, kConsole);
    EXPECT_THAT(report.error(),
                HasSubstr(workdir_->FailedFolder("small/ordered") + "/console.log"));
  }
  // `fate` at the first request of the kind that `is` picks out.
  void ExpectGuestErrorAt(const std::function<bool(const GuestRequest&)>& is, Fate fate,
                          const ::testing::Matcher<std::string>& says) {
    ExpectGuestError(Script([&](const GuestRequest& request) -> std::optional<FakeReply> {
                       if (!is(request)) return std::nullopt;
                       FakeReply reply;
                       reply.fate = fate;
                       return reply;
                     }),
                     says);
  }

  // A demand that is not met is a finding of the run: there is a recording, and it is checked.
  RunReport ExpectUnmet(const FakeScript& script, int step,
                        const ::testing::Matcher<std::string>& says) {
    RunReport report = RunOne(script);
    EXPECT_FALSE(report.has_error()) << report.error();
    EXPECT_EQ(report.finding_size(), 1);
    if (report.finding_size() != 1) return report;
    const Finding& finding = report.finding(0);
    EXPECT_EQ(finding.class_(), DEMAND_UNMET);
    EXPECT_EQ(finding.oracle(), STEPS);
    EXPECT_EQ(static_cast<int>(finding.step()), step);
    EXPECT_EQ(static_cast<int>(finding.line()), plans_[0].scenario().step(step - 1).line());
    EXPECT_THAT(finding.evidence(), says);
    EXPECT_EQ(static_cast<int>(report.steps()), plans_[0].scenario().step_size());
    EXPECT_FALSE(report.as_expected());
    EXPECT_EQ(status_, 1);
    EXPECT_TRUE(fs::exists(workdir_->RecordingFolder("small/ordered")));
    return report;
  }

  TestFolder folder_;
  Scenario small_;
  std::vector<scenario::Plan> plans_;
  std::unique_ptr<Workdir> workdir_;
  std::vector<uint8_t> log_;
  WorkloadTrace trace_;
  bool write_disks_ = true;
  int status_ = -1;
  int drains_ = 0;
};

TEST_F(RunCampaignTest, AGuestThatDoesEverythingRightGivesAVerdict) {
  const RunReport report = RunOne(Script({}));
  EXPECT_FALSE(report.has_error()) << report.error();
  EXPECT_FALSE(report.has_incomplete_reason()) << report.incomplete_reason();
  EXPECT_TRUE(report.as_expected());
  EXPECT_EQ(status_, 0);
  EXPECT_EQ(report.kernel_release(), "6.1.0-fake");
  ASSERT_EQ(report.disk_size(), 1);
  EXPECT_EQ(report.disk(0).states().violated(), 0u);
  EXPECT_GT(report.disk(0).states().distinct(), 50u);
  EXPECT_TRUE(fs::exists(workdir_->RecordingFolder("small/ordered") + "/recording.textproto"));
  EXPECT_FALSE(fs::exists(workdir_->FailedFolder("small/ordered")));
}

TEST_F(RunCampaignTest, APoisonedDiskIsFilledBeforeTheGuestStarts) {
  Scenario poisoned = plans_[0].scenario();
  poisoned.mutable_disk(0)->set_fill(Disk::POISON);
  plans_ = *scenario::ExpandPlans(poisoned);
  uint64_t seed = 0;
  CampaignOptions options = Options(Script({}));
  options.start_machine = [&, good = Machines(Script({}))](const vm::MachineOptions& machine) {
    const uint64_t size = 16 << 20;
    std::vector<uint8_t> cells(3 * image::kPoisonCellBytes);
    for (const uint64_t at : {uint64_t{0}, size / 2, size - 2 * image::kPoisonCellBytes}) {
      EXPECT_TRUE(os::PreadAll(machine.disks[0].fd, cells, Bytes(at)).ok());
      const auto first = std::span(cells).first(image::kPoisonCellBytes);
      const auto poison = image::RecognisePoison(first);
      EXPECT_TRUE(poison.has_value());
      EXPECT_EQ(poison->disk_offset, at);
      std::memcpy(&seed, cells.data() + 16, sizeof seed);
    }
    EXPECT_EQ(std::count(cells.end() - image::kPoisonCellBytes, cells.end(), 0),
              image::kPoisonCellBytes)
        << "behind the file system there is room for marks";
    return good(machine);
  };
  const ReportList reports =
      RunCampaign({{plans_[0], "small.textproto", "small/ordered"}}, *workdir_, options);
  // What the log does not write is poison on the disk and in the replay: the proof still holds.
  EXPECT_FALSE(reports.run(0).has_incomplete_reason()) << reports.run(0).incomplete_reason();
  const auto reader = recording::Reader::Open(workdir_->RecordingFolder("small/ordered"));
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  EXPECT_EQ(reader->FindDisk("vol")->poison_seed(), seed);
}

TEST_F(RunCampaignTest, GuestsThatDoNotComeUp) {
  for (const auto& [fate, says] :
       {std::pair{Fate::kHang, "said nothing for"}, std::pair{Fate::kPanic, "panicked"},
        std::pair{Fate::kEnd, "switched itself off too early"}}) {
    FakeScript script = Script({});
    script.at_boot = fate;
    ExpectGuestError(script, HasSubstr(says));
  }
}

TEST_F(RunCampaignTest, GuestsThatFailInTheMiddle) {
  const auto mount = [](const GuestRequest& request) { return request.has_mount(); };
  const auto unmount = [](const GuestRequest& request) { return request.has_unmount(); };
  const auto workload = [](const GuestRequest& request) { return request.has_run_workload(); };
  const auto set_up = [](const GuestRequest& request) { return request.has_set_up_disk(); };
  const auto power_off = [](const GuestRequest& request) { return request.has_power_off(); };
  ExpectGuestErrorAt(mount, Fate::kHang,
                     AllOf(HasSubstr("step 2, mount of vol at /data"), HasSubstr("said nothing")));
  ExpectGuestErrorAt(workload, Fate::kPanic,
                     AllOf(HasSubstr("step 3, workload at /data"), HasSubstr("panicked")));
  ExpectGuestErrorAt(unmount, Fate::kEnd, AllOf(HasSubstr("step 4"), HasSubstr("too early")));
  ExpectGuestErrorAt(set_up, Fate::kPanic, AllOf(HasSubstr("disk vol"), HasSubstr("panicked")));
  ExpectGuestErrorAt(power_off, Fate::kPanic, HasSubstr("panicked"));
}

TEST_F(RunCampaignTest, AMountThatDoesNotSayWhatIsDemandedEndsTheSteps) {
  int workloads = 0;
  const FakeScript refused = Script([&](const GuestRequest& request) -> std::optional<FakeReply> {
    workloads += request.has_run_workload() ? 1 : 0;
    if (!request.has_mount()) return std::nullopt;
    FakeReply reply;
    reply.answer.mutable_error()->set_message("bad superblock");
    reply.answer.mutable_error()->set_error_number(EINVAL);
    return reply;
  });
  RunReport report =
      ExpectUnmet(refused, 2,
                  AllOf(HasSubstr("mount of vol at /data"), HasSubstr("a mount that succeeds"),
                        HasSubstr("EINVAL"), HasSubstr("bad superblock")));
  EXPECT_EQ(workloads, 0);
  EXPECT_EQ(report.steps_run(), 2u);
  ASSERT_EQ(report.disk_size(), 1) << "what was recorded is checked all the same";
  EXPECT_GT(report.disk(0).states().enumerated(), 0u);
  EXPECT_THAT(report::Differences(report),
              ::testing::Contains(AllOf(HasSubstr("DEMAND_UNMET in step 2 (line "),
                                        HasSubstr("mount of vol at /data"))));
  small_.mutable_variant(0)->mutable_expect()->Clear();
  small_.mutable_variant(0)->mutable_expect()->add_found(DEMAND_UNMET);
  Expand(small_);
  report = RunOne(refused);
  EXPECT_TRUE(report.as_expected());
  EXPECT_EQ(status_, 0);
  report = RunOne(Script({}));
  EXPECT_FALSE(report.as_expected()) << "a demand that is expected to be unmet, and is met";
  ASSERT_EQ(report.missed_size(), 1);
  EXPECT_EQ(report.missed(0), DEMAND_UNMET);
}

TEST_F(RunCampaignTest, AnUnmetDemandHidesNoMistakeOfTheChecks) {
  const FakeScript refused = Script([](const GuestRequest& request) -> std::optional<FakeReply> {
    if (!request.has_mount()) return std::nullopt;
    FakeReply reply;
    reply.answer.mutable_error()->set_message("bad superblock");
    reply.answer.mutable_error()->set_error_number(EINVAL);
    return reply;
  });
  small_.mutable_check(0)->mutable_model()->set_atomic_unit(4096);
  Expand(small_);
  const RunReport report = RunOne(refused);
  EXPECT_EQ(report.error_kind(), "user");
  EXPECT_THAT(report.error(), HasSubstr("atomic_unit is 4096 bytes"));
  ASSERT_EQ(report.finding_size(), 1);
  EXPECT_EQ(report.finding(0).class_(), DEMAND_UNMET);
  EXPECT_EQ(status_, 2);
}

TEST_F(RunCampaignTest, WithoutItsWorkloadADiskIsJudgedButForStaleData) {
  const FakeScript refused = Script([](const GuestRequest& request) -> std::optional<FakeReply> {
    if (!request.has_mount()) return std::nullopt;
    FakeReply reply;
    reply.answer.mutable_error()->set_message("bad superblock");
    reply.answer.mutable_error()->set_error_number(EINVAL);
    return reply;
  });
  Scenario poisoned = plans_[0].scenario();
  poisoned.mutable_disk(0)->set_fill(Disk::POISON);
  poisoned.mutable_check(0)->clear_oracle();
  poisoned.mutable_check(0)->add_oracle(STALE_DATA);
  Expand(poisoned);
  const RunReport report = RunOne(refused);
  EXPECT_EQ(report.error(), "");
  ASSERT_EQ(report.disk_size(), 1);
  EXPECT_GT(report.disk(0).states().holds(), 0u);
  ASSERT_EQ(report.note_size(), 1);
  EXPECT_THAT(report.note(0), HasSubstr("stale data on disk vol was not judged"));
  EXPECT_EQ(status_, 1);
}

TEST_F(RunCampaignTest, ADiskThatTheStepsNeverMountedIsNotChecked) {
  const FakeScript fails = Script([](const GuestRequest& request) -> std::optional<FakeReply> {
    if (!request.has_run_program() || request.run_program().argv(0) != "true") return std::nullopt;
    FakeReply reply;
    reply.answer.set_exit_status(1);
    return reply;
  });
  Scenario longer = small_;
  longer.clear_step();
  *longer.add_step() = small_.step(0);
  Step& command = *longer.add_step();
  command.mutable_command()->add_argv("true");
  command.set_timeout_ms(1000);
  for (int i = 1; i < small_.step_size(); ++i) *longer.add_step() = small_.step(i);
  Expand(longer);
  const auto whole = blocklog::ReadLog(log_, {true, std::nullopt});
  ASSERT_TRUE(whole.ok());
  blocklog::BlockLog early = *whole;
  const auto base = std::find_if(early.entries.begin(), early.entries.end(), [](const auto& entry) {
    const auto mark = blocklog::DecodeMark(entry.data);
    return mark && mark->kind == "base";
  });
  ASSERT_NE(base, early.entries.end());
  early.entries.erase(base, early.entries.end());
  blocklog::LogWriter log(early.sector_bytes);
  AddEntries(early, log);
  AddMark(Mebibytes(16), "end", "vol", log);
  log_ = log.bytes();
  const RunReport report = RunOne(fails);
  EXPECT_EQ(report.error(), "");
  EXPECT_EQ(report.disk_size(), 0);
  ASSERT_EQ(report.note_size(), 1);
  EXPECT_THAT(report.note(0), HasSubstr("disk vol was not checked, for the steps ended before"));
  EXPECT_EQ(status_, 1);
}

TEST_F(RunCampaignTest, AMountThatSucceedsAgainstTheDemandIsUnmet) {
  AddStep("mount { disk: 'vol' at: '/again' expect_errno: 'EUCLEAN' }");
  const int last = plans_[0].scenario().step_size();
  ExpectUnmet(Script({}), last, AllOf(HasSubstr("asked for: EUCLEAN"), HasSubstr("was mounted")));
}

TEST_F(RunCampaignTest, TheFailureOfTheGuestAfterAnUnmetDemandNamesBoth) {
  ExpectGuestError(Script([&](const GuestRequest& request) -> std::optional<FakeReply> {
                     FakeReply reply;
                     if (request.has_mount()) {
                       reply.answer.mutable_error()->set_message("bad superblock");
                       reply.answer.mutable_error()->set_error_number(EINVAL);
                       return reply;
                     }
                     if (!request.has_drain() || request.drain().disk().empty()) {
                       return std::nullopt;
                     }
                     if (drains_++ == 0) return std::nullopt;  // of the base
                     reply.fate = Fate::kPanic;
                     return reply;
                   }),
                   AllOf(HasSubstr("bad superblock"), HasSubstr("panicked")));
}

TEST_F(RunCampaignTest, WithoutALogTheDemandsOfTheStepsAreTheVerdict) {
  Scenario bare = plans_[0].scenario();
  bare.clear_check();
  bare.mutable_disk(0)->clear_layer();
  bare.mutable_step()->Clear();
  bare.mutable_expect()->set_nothing(true);
  bare.add_step()->mutable_command()->add_argv("true");
  auto plans = scenario::ExpandPlans(bare);
  ASSERT_TRUE(plans.ok()) << plans.error().ToString();
  CampaignOptions options = Options(Script({}));
  const auto ends_with = [&](int exit_status) {
    options.start_machine = [this, exit_status](const vm::MachineOptions& machine) {
      WriteText(machine.console_log, kConsole);
      return vm::FakeMachineFactory(
          Script([exit_status](const GuestRequest& request) -> std::optional<FakeReply> {
            if (!request.has_run_program()) return std::nullopt;
            FakeReply reply;
            reply.answer.set_exit_status(exit_status);
            return reply;
          }))(machine);
    };
    const ReportList reports = RunCampaign({{plans->at(0), "s", "s"}}, *workdir_, options);
    EXPECT_FALSE(reports.run(0).has_error()) << reports.run(0).error();
    return report::ExitStatus(reports);
  };
  EXPECT_EQ(ends_with(0), 0);
  EXPECT_EQ(ends_with(3), 1);
}

TEST_F(RunCampaignTest, StepsThatTheGuestRefuses) {
  ExpectGuestError(
      Script([](const GuestRequest& request) -> std::optional<FakeReply> {
        if (!request.has_run_program()) return std::nullopt;
        FakeReply reply;
        reply.answer.set_exit_status(1);
        reply.answer.set_output("mke2fs: no room");
        return reply;
      }),
      AllOf(HasSubstr("step 1, mkfs of vol"), HasSubstr("status 1"), HasSubstr("no room")));
  ExpectGuestError(Script([](const GuestRequest& request) -> std::optional<FakeReply> {
                     if (!request.has_set_up_disk()) return std::nullopt;
                     FakeReply reply;
                     reply.answer.mutable_error()->set_message("no such module");
                     reply.answer.mutable_error()->set_infrastructure(true);
                     return reply;
                   }),
                   AllOf(HasSubstr("disk vol"), HasSubstr("no such module")));
}

TEST_F(RunCampaignTest, ALogThatTheGuestNeverWroteIsTheGuestsFault) {
  write_disks_ = false;
  ExpectGuestError(Script({}),
                   AllOf(HasSubstr("log of disk vol"), HasSubstr("no dm-log-writes log")));
}

TEST_F(RunCampaignTest, LoggingThatStoppedMakesTheRecordingIncomplete) {
  const RunReport report =
      RunOne(Script([](const GuestRequest& request) -> std::optional<FakeReply> {
        if (!request.has_query_disk()) return std::nullopt;
        FakeReply reply;
        reply.answer.mutable_disk_status()->set_has_log(true);
        reply.answer.mutable_disk_status()->set_logged_entries(440);
        reply.answer.mutable_disk_status()->set_logging_disabled(true);
        return reply;
      }));
  EXPECT_THAT(report.incomplete_reason(),
              AllOf(HasSubstr("stopped after 440 entries"), HasSubstr("log_size_mib")));
  EXPECT_FALSE(report.as_expected());
  EXPECT_EQ(status_, 3);
}

TEST_F(RunCampaignTest, WritesThatAreNotInTheLogMakeTheRecordingIncomplete) {
  std::fill(log_.end() - 4096, log_.end(), 0);
  log_.resize(log_.size() / 2);
  const RunReport report = RunOne(Script({}));
  EXPECT_THAT(report.incomplete_reason(), HasSubstr("its log cannot be read to its end"));
  EXPECT_FALSE(report.as_expected());
  EXPECT_EQ(status_, 3);
}

TEST_F(RunCampaignTest, AFailedRunDoesNotLeaveTheRecordingOfAnOlderOne) {
  RunOne(Script({}));
  ASSERT_EQ(status_, 0);
  FakeScript script = Script({});
  script.at_boot = Fate::kPanic;
  ExpectGuestError(script, HasSubstr("panicked"));
}

TEST_F(RunCampaignTest, ReportsKeepTheOrderOfThePlansAndOneFailureStopsNoOther) {
  std::atomic<int> machines = 0;
  CampaignOptions options = Options(Script({}));
  options.start_machine = [&, good = Machines(Script({}))](const vm::MachineOptions& machine) {
    if (machine.console_log.find("/b/") == std::string::npos) return good(machine);
    ++machines;
    return Result<std::unique_ptr<vm::Machine>>(EnvironmentError("no memory"));
  };
  const ReportList reports = RunCampaign(
      {{plans_[0], "s", "a"}, {plans_[1], "s", "b"}, {plans_[0], "s", "c"}}, *workdir_, options);
  ASSERT_EQ(reports.run_size(), 3);
  EXPECT_EQ(machines, 1);
  EXPECT_EQ(reports.run(0).variant(), "ordered");
  EXPECT_EQ(reports.run(1).variant(), "writeback_nobarrier");
  EXPECT_TRUE(reports.run(0).as_expected());
  EXPECT_TRUE(reports.run(2).as_expected());
  EXPECT_EQ(reports.run(1).error_kind(), "environment");
  EXPECT_EQ(report::ExitStatus(reports), 3);
}

TEST_F(RunCampaignTest, WhatACorruptStepDidIsInTheRecording) {
  AddStep("corrupt { disk: 'vol' damage: MAGIC_ZEROED }");
  const RunReport report =
      RunOne(Script([](const GuestRequest& request) -> std::optional<FakeReply> {
        if (!request.has_corrupt()) return std::nullopt;
        EXPECT_EQ(request.corrupt().damage(), MAGIC_ZEROED);
        FakeReply reply;
        reply.answer.mutable_damage_evidence()->set_damage("magic_zeroed");
        reply.answer.mutable_damage_evidence()->add_piece()->set_offset(1080);
        return reply;
      }));
  EXPECT_FALSE(report.has_error()) << report.error();
  const auto reader = recording::Reader::Open(report.recording());
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  ASSERT_EQ(reader->manifest().damage_size(), 1);
  const DamageEvidence& damage = reader->manifest().damage(0);
  EXPECT_EQ(static_cast<int>(damage.step()), plans_[0].scenario().step_size());
  EXPECT_EQ(damage.disk(), "vol");
  EXPECT_EQ(damage.piece(0).offset(), 1080u);
}

TEST_F(RunCampaignTest, DamageToWhatIsNotThereIsTheScenariosMistake) {
  AddStep("corrupt { disk: 'vol' zap_inode_blocks { path: '/none' } }");
  const RunReport report =
      RunOne(Script([](const GuestRequest& request) -> std::optional<FakeReply> {
        if (!request.has_corrupt()) return std::nullopt;
        FakeReply reply;
        reply.answer.mutable_error()->set_message("the file system has no /none");
        return reply;
      }));
  EXPECT_EQ(report.error_kind(), "user");
  EXPECT_THAT(report.error(), AllOf(HasSubstr("corrupt vol: zap_inode_blocks of /none"),
                                    HasSubstr("has no /none")));
}

TEST_F(RunCampaignTest, TheKernelsLogIsHeldAgainstWhatTheStepDemands) {
  const auto logs = [](bool cut) {
    return [cut](const GuestRequest& request) -> std::optional<FakeReply> {
      if (!request.has_take_kernel_log()) return std::nullopt;
      FakeReply reply;
      reply.answer.add_kernel_line()->set_text("EXT4-fs (dm-1): mounted filesystem");
      reply.answer.set_kernel_log_cut(cut);
      return reply;
    };
  };
  AddStep("kernel_log { has: '^EXT4-fs .*mounted' lacks: 'error' }");
  EXPECT_FALSE(RunOne(Script(logs(false))).has_error());
  ExpectGuestError(Script(logs(true)), HasSubstr("more than its buffer holds"));
  const int last = plans_[0].scenario().step_size();
  AddStep("kernel_log { has: 'EXT4-fs error' has: 'mounted' has: 'panic' }");
  ExpectUnmet(
      Script(logs(false)), last,
      AllOf(HasSubstr("a line of the kernel's log that matches \"EXT4-fs error\", and a line"),
            HasSubstr("matches \"panic\""), ::testing::Not(HasSubstr("\"mounted\""))));
  ExpectGuestError(Script(logs(true)), HasSubstr("more than its buffer holds"));
  AddStep("kernel_log { lacks: 'dm-[0-9]' }");
  const auto& line = HasSubstr("it logged: EXT4-fs (dm-1): mounted filesystem");
  ExpectUnmet(Script(logs(false)), last, line);
  ExpectUnmet(Script(logs(true)), last, line);
}

TEST_F(RunCampaignTest, WhatACommandPrintsIsHeldAgainstTheStep) {
  const auto prints = [](const std::string& text) {
    return [text](const GuestRequest& request) -> std::optional<FakeReply> {
      if (!request.has_run_program() || request.run_program().argv(0) != "blkid") {
        return std::nullopt;
      }
      FakeReply reply;
      reply.answer.set_output(text);
      return reply;
    };
  };
  AddStep("command { argv: 'blkid' expect_output: '^TYPE=ext4$' }");
  EXPECT_FALSE(RunOne(Script(prints("UUID=1\nTYPE=ext4\n"))).has_error());
  const int last = plans_[0].scenario().step_size();
  ExpectUnmet(Script(prints("TYPE=xfs\n")), last,
              AllOf(HasSubstr("output that matches \"^TYPE=ext4$\""), HasSubstr("TYPE=xfs")));
  AddStep("command { argv: 'blkid' expect_exit: 2 }");
  ExpectUnmet(Script(prints("TYPE=xfs\n")), last,
              AllOf(HasSubstr("asked for: exit status 2"), HasSubstr("ended with status 0")));
}

}  // namespace
}  // namespace plugpull::run
