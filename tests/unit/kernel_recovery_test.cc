// SPDX-License-Identifier: Apache-2.0
// Recording the kernel's recovery with machines that are not there: what is asked of a guest, and
// what a guest that is lost is charged with.
#include "framework/run/kernel_recovery.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../meta/recorded.h"
#include "vm/fake/fake_machine.h"

namespace plugpull::run {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vm::FakeReply;

class KernelRecoveryTest : public ::testing::Test {
 protected:
  KernelRecoveryTest() : recorded_(GoldenRecording("ordered")) {
    options_.image = [] {
      return Result<GuestImage>(
          GuestImage{"/nonexistent/kernel", "/nonexistent/initramfs", "tcg", ""});
    };
    options_.scratch_folder = ::testing::TempDir();
    options_.layers.emplace_back().mutable_log_writes();
    options_.mount.set_disk("vol");
    options_.mount.add_option("nobarrier");
  }

  // `reply` is asked about every request of every guest.
  void Record(size_t states, std::function<FakeReply(const GuestRequest&)> reply) {
    options_.start_machine =
        vm::FakeMachineFactory({.on_request = [this, reply](const GuestRequest& request) {
          requests_.push_back(request);
          return reply(request);
        }});
    const std::vector<crashstate::StateSpec> some(
        recorded_.states.begin(), recorded_.states.begin() + static_cast<ptrdiff_t>(states));
    guests_ = RecordKernelRecoveries(
        *recorded_.source, some, options_,
        [&](size_t state, const std::string&, Result<std::vector<uint8_t>> log) {
          EXPECT_EQ(state, errors_.size());
          errors_.push_back(log.ok() ? "" : log.error().ToString());
        });
  }

  const Recorded recorded_;
  KernelRecoveryOptions options_;
  std::vector<GuestRequest> requests_;
  std::vector<std::string> errors_;
  uint64_t guests_ = 0;
};

TEST_F(KernelRecoveryTest, MountsBetweenMarksAndTakesNoEmptyLog) {
  Record(1, [](const GuestRequest&) { return FakeReply(); });
  std::vector<GuestRequest::KindCase> kinds;
  for (const GuestRequest& request : requests_) kinds.push_back(request.kind_case());
  EXPECT_THAT(kinds,
              ElementsAre(GuestRequest::kSetUpDisk, GuestRequest::kWriteMark, GuestRequest::kDrain,
                          GuestRequest::kMount, GuestRequest::kWriteMark, GuestRequest::kUnmount,
                          GuestRequest::kWriteMark, GuestRequest::kDrain,
                          GuestRequest::kTearDownDisk, GuestRequest::kPowerOff));
  EXPECT_THAT(requests_[3].mount().option(), ElementsAre("nobarrier"));
  // The fake guest wrote no log.
  ASSERT_EQ(errors_.size(), 1U);
  EXPECT_NE(errors_[0], "");
}

TEST_F(KernelRecoveryTest, StatesShareGuests) {
  Record(kRecoveriesPerGuest + 1, [](const GuestRequest&) { return FakeReply(); });
  EXPECT_EQ(guests_, 2U);
  EXPECT_EQ(errors_.size(), kRecoveriesPerGuest + 1);
}

TEST_F(KernelRecoveryTest, ALostGuestIsChargedToItsState) {
  Record(3, [](const GuestRequest& request) {
    FakeReply reply;
    const bool second = request.has_mount() && request.mount().disk() == "state1";
    if (second) reply.fate = FakeReply::Fate::kPanic;
    return reply;
  });
  // The first guest dies with the second state; the third is the first of another guest.
  EXPECT_EQ(guests_, 2U);
  ASSERT_EQ(errors_.size(), 3U);
  EXPECT_EQ(errors_[0].find("panic"), std::string::npos) << errors_[0];
  EXPECT_EQ(errors_[2].find("panic"), std::string::npos) << errors_[2];
  EXPECT_NE(errors_[1], errors_[0]);
}

TEST_F(KernelRecoveryTest, ManyLostGuestsEndIt) {
  Record(8, [](const GuestRequest& request) {
    FakeReply reply;
    if (request.has_mount()) reply.answer.mutable_error()->set_message("no such device");
    return reply;
  });
  EXPECT_EQ(guests_, 4U);
  ASSERT_EQ(errors_.size(), 8U);
  EXPECT_THAT(errors_[0], HasSubstr("no such device"));
  EXPECT_THAT(errors_[7], HasSubstr("4 guests were lost"));
}

TEST_F(KernelRecoveryTest, WithoutAnImageNothingIsRecorded) {
  options_.image = [] { return Result<GuestImage>(EnvironmentError("no kernel")); };
  Record(2, [](const GuestRequest&) { return FakeReply(); });
  EXPECT_EQ(guests_, 0U);
  EXPECT_THAT(errors_, ElementsAre(HasSubstr("no kernel"), HasSubstr("no kernel")));
}

}  // namespace
}  // namespace plugpull::run
