// SPDX-License-Identifier: Apache-2.0
// The moments that faults wait for, and disks made of layers that fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "vm/guest/fault_steps.h"
#include "vm/guest/stack_plan.h"

namespace plugpull::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FaultMomentsTest : public ::testing::Test {
 protected:
  FaultMoments::Clock Clock() {
    return {[this] { return now_ms_; },
            [this](bool& cut) {
              cut = cut || std::exchange(cut_, false);
              return std::exchange(lines_, {});
            }};
  }
  void Log(const std::string& text) { lines_.emplace_back().set_text(text); }
  size_t Arm(const When& when) {
    const auto armed = moments_.Arm(when);
    EXPECT_TRUE(armed.ok());
    return armed.ok() ? *armed : 99;
  }

  uint64_t now_ms_ = 1000;
  std::vector<KernelLine> lines_;
  bool cut_ = false;
  FaultMoments moments_{Clock()};
};

TEST_F(FaultMomentsTest, EachComesDueOnceAtItsMoment) {
  When mark;
  mark.set_after_mark("ack 0.12");
  When operations;
  operations.set_after_operations(2);
  When clock;
  clock.set_guest_ms(50);
  When log;
  log.set_kernel_log("^EXT4-fs.*error [0-9]+");
  EXPECT_EQ(Arm(mark), 0u);
  EXPECT_EQ(Arm(operations), 1u);
  EXPECT_EQ(Arm(clock), 2u);
  EXPECT_EQ(Arm(log), 3u);
  EXPECT_THAT(moments_.AfterMark({"ack", "0.11"}), IsEmpty());
  EXPECT_THAT(moments_.AfterMark({"ack", "0.12"}), ElementsAre(0u));
  EXPECT_THAT(moments_.AfterMark({"ack", "0.12"}), IsEmpty());
  EXPECT_THAT(moments_.AfterOperation(), IsEmpty());
  EXPECT_THAT(moments_.AfterOperation(), ElementsAre(1u));
  EXPECT_THAT(moments_.AfterOperation(), IsEmpty());
  EXPECT_EQ(moments_.operations(), 3u);
  now_ms_ = 1049;
  Log("EXT4-fs (dm-1): error X");
  EXPECT_THAT(moments_.Look(), IsEmpty());
  now_ms_ = 1050;
  Log("EXT4-fs (dm-1): error 5");
  EXPECT_THAT(moments_.Look(), ElementsAre(2u, 3u));
  EXPECT_FALSE(moments_.NeedsLook());
  Log("EXT4-fs (dm-1): error 5");
  EXPECT_THAT(moments_.Look(), IsEmpty());
}

TEST_F(FaultMomentsTest, OperationsCountFromWhereItWasArmed) {
  moments_.AfterOperation();
  When operations;
  operations.set_after_operations(1);
  Arm(operations);
  Arm(operations);
  EXPECT_THAT(moments_.AfterOperation(), ElementsAre(0u, 1u));
}

TEST_F(FaultMomentsTest, AMomentThatALostLineMayHaveBroughtIsNotOneThatNeverCame) {
  When operations;
  operations.set_after_operations(2);
  When log;
  log.set_kernel_log("error");
  Arm(operations);
  cut_ = true;
  EXPECT_THAT(moments_.Look(), IsEmpty());
  EXPECT_FALSE(moments_.LinesLost()) << "nobody waited for a line";
  Arm(log);
  EXPECT_THAT(moments_.Look(), IsEmpty());
  EXPECT_FALSE(moments_.LinesLost());
  cut_ = true;
  Log("all is well");
  EXPECT_THAT(moments_.Look(), IsEmpty());
  EXPECT_TRUE(moments_.LinesLost());
  Log("an error");
  EXPECT_THAT(moments_.Look(), ElementsAre(1u));
  EXPECT_FALSE(moments_.LinesLost()) << "it came all the same";
}

TEST_F(FaultMomentsTest, RefusesWhatNeverComes) {
  EXPECT_FALSE(moments_.Arm(When()).ok());
  When log;
  log.set_kernel_log("a(b");
  const auto armed = moments_.Arm(log);
  ASSERT_FALSE(armed.ok());
  EXPECT_THAT(armed.error().message, HasSubstr("POSIX"));
  log.set_kernel_log("ok");
  for (size_t i = 0; i < kArmedFaultsMax; ++i) Arm(log);
  EXPECT_FALSE(moments_.Arm(log).ok());
}

SetUpDisk RequestOf(const std::vector<GuestLayer>& layers, bool log) {
  SetUpDisk request;
  request.set_disk("vol");
  request.set_data_serial("pvc-1");
  request.set_size_sectors(131072);
  if (log) {
    request.set_strip_sectors(2048);
    request.set_log_serial("log-1");
  }
  for (const GuestLayer& layer : layers) *request.add_layer() = layer;
  return request;
}

GuestLayer Bare(GuestLayer::Kind kind) {
  GuestLayer layer;
  layer.set_kind(kind);
  return layer;
}

GuestLayer Striped(uint32_t chunk_kib) {
  GuestLayer layer = Bare(GuestLayer::STRIPED);
  layer.mutable_layer()->mutable_striped()->set_chunk_kib(chunk_kib);
  layer.mutable_layer()->mutable_striped()->add_disk("b");
  layer.add_serial("pvc-2");
  return layer;
}

GuestLayer Snapshot() {
  GuestLayer layer = Bare(GuestLayer::SNAPSHOT);
  layer.mutable_layer()->mutable_snapshot()->set_scratch("pool");
  layer.add_serial("pvc-3");
  return layer;
}

GuestLayer Error() {
  GuestLayer layer = Bare(GuestLayer::MAPPED);
  layer.mutable_layer()->mutable_error()->set_first_sector(100);
  return layer;
}

TEST(FaultStackTest, AStackOfEverythingInOneOrder) {
  const auto plan =
      PlanStack(RequestOf({Striped(64), Snapshot(), Bare(GuestLayer::LOG_WRITES), Error()}, true));
  ASSERT_TRUE(plan.ok()) << plan.error().ToString();
  EXPECT_FALSE(plan->disk_is_image);
  ASSERT_EQ(plan->devices.size(), 6u);
  EXPECT_EQ(dm::ToString(plan->devices[0].TableOn({254, 0}, {}, {{254, 16}})),
            "0 133120 striped 2 128 254:0 0 254:16 0");
  EXPECT_EQ(dm::ToString(plan->devices[1].TableOn({253, 0}, {}, {{254, 32}})),
            "0 133120 snapshot 253:0 254:32 N 8");
  EXPECT_EQ(plan->devices[1].serials, std::vector<std::string>{"pvc-3"});
  EXPECT_EQ(plan->devices[5].name, "pp-vol-layer3");
  EXPECT_EQ(plan->devices[5].request_layer, 3u);
  EXPECT_TRUE(plan->devices[5].Swappable());
  EXPECT_FALSE(plan->devices[4].Swappable());  // the file system's part
  EXPECT_FALSE(plan->devices[2].Swappable());  // the log
  EXPECT_FALSE(plan->devices[0].Swappable());
  EXPECT_EQ(dm::ToString(plan->devices[5].TableOn({253, 4}, {})),
            "0 100 linear 253:4 0\n100 130972 error");
}

TEST(FaultStackTest, RefusesStacksThatCannotBe) {
  const auto refused = [](const SetUpDisk& request) {
    const auto plan = PlanStack(request);
    return plan.ok() ? std::string("accepted") : plan.error().ToString();
  };
  EXPECT_THAT(refused(RequestOf({Error(), Striped(64)}, false)), HasSubstr("only the first layer"));
  EXPECT_THAT(refused(RequestOf({Striped(60)}, false)), HasSubstr("multiple"));
  GuestLayer no_serial = Striped(64);
  no_serial.clear_serial();
  EXPECT_THAT(refused(RequestOf({no_serial}, false)), HasSubstr("names 1 disks and has 0 serials"));
  GuestLayer past_end = Error();
  past_end.mutable_layer()->mutable_error()->set_first_sector(131072);
  EXPECT_THAT(refused(RequestOf({past_end}, false)), HasSubstr("131071"));
  EXPECT_THAT(refused(RequestOf({Bare(GuestLayer::MAPPED)}, false)), HasSubstr("empty"));
}

}  // namespace
}  // namespace plugpull::guest
