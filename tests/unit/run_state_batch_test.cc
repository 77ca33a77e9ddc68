// SPDX-License-Identifier: Apache-2.0
// Batches of crash states with machines that are not there: where each state lies, and what a guest
// that dies is charged with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "../meta/recorded.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/run/guest_oracles.h"
#include "framework/run/state_batch.h"
#include "tests/support/program.h"
#include "vm/fake/fake_machine.h"

namespace plugpull::run {
namespace {

using oracle::MountSeen;
using oracle::StateToMount;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vm::FakeReply;
using End = MountSeen::End;
using Fate = FakeReply::Fate;

TEST(StatesForOneGuestTest, FillsGuestsUpToTheirBounds) {
  BatchLimits limits;
  limits.states_per_guest = 3;
  limits.data_per_guest = Bytes(100);
  const std::vector<Bytes> data = {Bytes(10), Bytes(10), Bytes(10),  Bytes(90),
                                   Bytes(10), Bytes(1),  Bytes(500), Bytes(1)};
  std::vector<size_t> counts;
  for (size_t first = 0; first < data.size(); first += counts.back()) {
    counts.push_back(StatesForOneGuest(data, first, limits));
  }
  EXPECT_THAT(counts, ElementsAre(3, 2, 1, 1, 1));
}

class StateBatchTest : public ::testing::Test {
 protected:
  StateBatchTest() : recorded_(GoldenRecording("writeback_nobarrier")) {}

  std::vector<StateToMount> States(size_t count, size_t mounts) {
    std::vector<StateToMount> states;
    for (size_t i = 0; i < count; ++i) {
      const auto& spec = recorded_.states[i * recorded_.states.size() / count];
      StateToMount state{spec, recorded_.IdOf(spec), {}, false};
      for (size_t m = 0; m < mounts; ++m) state.mounts.emplace_back().set_read_only(m == 0);
      states.push_back(std::move(state));
    }
    return states;
  }

  // Machines that see what a guest would: `each` is called with the disks and each request.
  StateBatchOptions Options(
      const std::function<FakeReply(const vm::MachineOptions&, const MountState&)>& each) {
    StateBatchOptions options;
    options.image = [] {
      return Result<GuestImage>(
          GuestImage{"/nonexistent/kernel", "/nonexistent/initramfs", "tcg", ""});
    };
    options.scratch_folder = ::testing::TempDir();
    options.limits.boot_max = Millis(200);
    options.limits.mount_max = Millis(50);
    options.start_machine = [each](const vm::MachineOptions& machine) {
      vm::FakeScript script;
      script.on_request = [each, machine](const GuestRequest& request) {
        return request.has_mount_state() ? each(machine, request.mount_state()) : FakeReply();
      };
      return vm::FakeMachineFactory(script)(machine);
    };
    return options;
  }

  Recorded recorded_;
};

FakeReply Reported(int mount_error = 0) {
  FakeReply reply;
  reply.answer.mutable_state_report()->set_mount_error(mount_error);
  return reply;
}
FakeReply Meeting(Fate fate) {
  FakeReply reply;
  reply.fate = fate;
  return reply;
}

TEST_F(StateBatchTest, EveryStateLiesWhereTheGuestIsSentAndIsWhatTheCutLeft) {
  const auto states = States(9, 1);
  crashstate::StateCursor cursor(recorded_.space());
  size_t next = 0;
  auto options = Options([&](const vm::MachineOptions& machine, const MountState& request) {
    const auto& spec = states[next].spec;
    EXPECT_EQ(request.label(), states[next++].label);
    cursor.MoveTo(spec.cut, recorded_.LostOf(spec), spec.overlapping_older);
    std::vector<uint8_t> expected(cursor.image().size_bytes());
    cursor.image().Read(0, expected);
    std::vector<uint8_t> packed(expected.size());
    EXPECT_EQ(request.length_sectors() * kSectorBytes, expected.size());
    EXPECT_EQ(machine.disks.size(), 2u);
    EXPECT_EQ(machine.disks[0].serial, request.data_serial());
    EXPECT_EQ(machine.disks[1].serial, request.scratch_serial());
    EXPECT_TRUE(
        os::PreadAll(machine.disks[0].fd, packed, ToBytes(Sectors(request.first_sector()))).ok());
    EXPECT_EQ(packed, expected) << request.label();
    EXPECT_GE(os::FileSize(machine.disks[1].fd)->value, expected.size());
    return Reported(static_cast<int>(next));
  });
  options.limits.states_per_guest = 4;
  StateBatch batch(*recorded_.source, std::move(options));
  const auto seen = batch.Mount(states);
  ASSERT_EQ(seen.size(), 9u);
  for (size_t i = 0; i < seen.size(); ++i) {
    ASSERT_EQ(seen[i].size(), 1u);
    EXPECT_EQ(seen[i][0].end, End::kReported);
    EXPECT_EQ(seen[i][0].report.mount_error(), static_cast<int>(i + 1));
  }
  EXPECT_EQ(batch.guests(), 3u);
}

TEST_F(StateBatchTest, ARecoveredStateLiesThereAsItWasRecovered) {
  auto states = States(2, 1);
  states[1].recovered = true;
  auto work = oracle::WorkImage::Make(recorded_.source->base(), recorded_.source->base_extents());
  ASSERT_TRUE(work.ok());
  work->bytes()[1080] ^= 0xff;
  work->bytes()[work->bytes().size() - 1] = 7;
  auto options = Options([&](const vm::MachineOptions& machine, const MountState& request) {
    std::vector<uint8_t> packed(work->bytes().size());
    EXPECT_TRUE(
        os::PreadAll(machine.disks[0].fd, packed, ToBytes(Sectors(request.first_sector()))).ok());
    const bool same = std::equal(packed.begin(), packed.end(), work->bytes().begin());
    EXPECT_EQ(same, request.label() == states[1].label);
    return Reported();
  });
  options.recover = [&](const crashstate::StateSpec& spec) {
    EXPECT_EQ(spec.cut, states[1].spec.cut);
    return Result<const oracle::WorkImage*>(&*work);
  };
  StateBatch batch(*recorded_.source, std::move(options));
  for (const auto& seen : batch.Mount(states)) EXPECT_EQ(seen[0].end, End::kReported);
}

TEST_F(StateBatchTest, AGuestThatDiesIsChargedToTheStateUnderTestAlone) {
  const auto states = States(5, 2);
  const std::map<std::string, Fate> fates = {{states[1].label, Fate::kPanic},
                                             {states[2].label, Fate::kHang},
                                             {states[4].label, Fate::kEnd}};
  StateBatch batch(
      *recorded_.source, Options([&](const vm::MachineOptions&, const MountState& request) {
        const auto fate = fates.find(request.label());
        return request.read_only() && fate != fates.end() ? Meeting(fate->second) : Reported();
      }));
  const auto seen = batch.Mount(states);
  ASSERT_EQ(seen.size(), 5u);
  EXPECT_EQ(seen[0][0].end, End::kReported);
  EXPECT_EQ(seen[1][0].end, End::kPanicked);
  EXPECT_THAT(seen[1][0].words, HasSubstr("Kernel panic"));
  EXPECT_EQ(seen[1][1].end, End::kReported);
  EXPECT_EQ(seen[2][0].end, End::kLost);
  EXPECT_THAT(seen[2][0].words, HasSubstr("said nothing"));
  EXPECT_EQ(seen[3][0].end, End::kReported);
  EXPECT_EQ(seen[4][0].end, End::kLost);
  EXPECT_EQ(seen[4][1].end, End::kReported);
  EXPECT_EQ(batch.guests(), 4u);
}

TEST_F(StateBatchTest, AfterTooManyDeathsTheRestIsGivenUp) {
  auto options =
      Options([](const vm::MachineOptions&, const MountState&) { return Meeting(Fate::kPanic); });
  options.limits.lost_guests_max = 3;
  StateBatch batch(*recorded_.source, std::move(options));
  const auto seen = batch.Mount(States(6, 1));
  EXPECT_EQ(batch.guests(), 3u);
  EXPECT_EQ(seen[2][0].end, End::kPanicked);
  for (size_t i = 3; i < 6; ++i) {
    EXPECT_EQ(seen[i][0].end, End::kLost);
    EXPECT_THAT(seen[i][0].words, HasSubstr("given up"));
  }
}

TEST_F(StateBatchTest, WithoutAGuestEverythingIsLost) {
  auto options = Options([](const vm::MachineOptions&, const MountState&) { return Reported(); });
  options.image = [] { return Result<GuestImage>(EnvironmentError("no such kernel")); };
  StateBatch batch(*recorded_.source, std::move(options));
  for (const auto& seen : batch.Mount(States(3, 1))) {
    EXPECT_EQ(seen[0].end, End::kLost);
    EXPECT_THAT(seen[0].words, HasSubstr("no such kernel"));
  }
  EXPECT_EQ(batch.guests(), 0u);
}

// The oracles over such machines: what they sample, and what becomes of what was found.
class GuestOraclesTest : public StateBatchTest {
 protected:
  void Judge() {
    auto fsck = oracle::Fsck::Find();
    ASSERT_TRUE(fsck.ok());
    fsck_ = std::make_unique<oracle::Fsck>(*std::move(fsck));
    JudgeOptions options;
    options.content = false;
    options.jobs = 2;
    class Judge judge(recorded_.space(), recorded_.source->journal(),
                      recorded_.source->base_extents(), nullptr, *fsck_, options);
    auto verdicts = judge.Run(recorded_.states);
    ASSERT_TRUE(verdicts.ok());
    verdicts_ = *std::move(verdicts);
    for (auto& verdict : verdicts_) verdict.evidence = nullptr;  // the judge is gone
  }

  DiskReport Ask(
      const Check& check,
      const std::function<FakeReply(const vm::MachineOptions&, const MountState&)>& each) {
    const StateBatchOptions batch = Options(each);
    GuestOracleOptions options;
    options.kernel_image = batch.image;
    options.command_image = batch.image;
    options.start_machine = batch.start_machine;
    oracles_ = std::make_unique<GuestOracles>(*recorded_.source, check, *fsck_, options);
    oracles_->Ask(recorded_.states, verdicts_);
    DiskReport report;
    oracles_->AddTo(report);
    return report;
  }

  // How many states a note says were mounted once more.
  static uint64_t Recovered(const std::string& note) {
    const size_t end = note.find(" of them once more as the host recovered them");
    const size_t start = note.rfind(' ', end - 1) + 1;
    return end == std::string::npos ? 0 : std::stoull(note.substr(start, end - start));
  }

  std::unique_ptr<oracle::Fsck> fsck_;
  std::unique_ptr<GuestOracles> oracles_;
  std::vector<StateVerdict> verdicts_;
};

TEST_F(GuestOraclesTest, AKernelThatMountsEverythingDisagreesAboutRefusedJournals) {
  ASSERT_NO_FATAL_FAILURE(Judge());
  Check check;
  check.add_oracle(KERNEL_MOUNT);
  check.mutable_kernel_mount()->set_max_states(12);
  const DiskReport report =
      Ask(check, [](const vm::MachineOptions&, const MountState&) { return Reported(); });
  size_t asked = 0;
  size_t disagrees = 0;
  for (const StateVerdict& verdict : verdicts_) {
    if (verdict.kernel_evidence == nullptr) continue;
    ++asked;
    EXPECT_EQ(verdict.kernel == oracle::Outcome::kViolated,
              verdict.recovery == oracle::Outcome::kViolated);
    if (verdict.kernel != oracle::Outcome::kViolated) continue;
    ++disagrees;
    EXPECT_THAT(*verdict.kernel_evidence, HasSubstr("calls the journal refused"));
    EXPECT_EQ(verdict.Worst(), oracle::Outcome::kViolated);
  }
  EXPECT_EQ(asked, 12u);
  EXPECT_GE(Recovered(report.note(0)), 1u);
  EXPECT_GE(disagrees, 3u);
  ASSERT_EQ(report.note_size(), 1);
  EXPECT_THAT(report.note(0),
              AllOf(HasSubstr("kernel mount (6.1.0-fake): 12 states ("), HasSubstr("held"),
                    HasSubstr("condemned"), HasSubstr("journal refused"),
                    HasSubstr(std::to_string(disagrees) + " disagree")));
  ASSERT_EQ(report.judge_size(), 1);
  EXPECT_EQ(report.judge(0).runs(), 2 * (12u + Recovered(report.note(0))));
}

TEST_F(GuestOraclesTest, TheCommandGetsTheMarksBeforeTheCutAndItsStatusDecides) {
  ASSERT_NO_FATAL_FAILURE(Judge());
  Check check;
  check.add_oracle(COMMAND);
  check.mutable_command()->add_argv("/scenario/check");
  check.mutable_command()->set_timeout_ms(20);
  check.mutable_command()->set_max_states(10);
  int number = 0;
  const DiskReport report = Ask(check, [&](const vm::MachineOptions&, const MountState& request) {
    EXPECT_FALSE(request.read_only());
    EXPECT_THAT(request.command().argv(), ElementsAre("/scenario/check"));
    FakeReply reply = Reported();
    reply.answer.mutable_state_report()->set_command_ran(true);
    reply.answer.mutable_state_report()->set_command_status(number++ % 2);
    return reply;
  });
  EXPECT_EQ(number, 10);
  EXPECT_EQ(std::count_if(verdicts_.begin(), verdicts_.end(),
                          [](const StateVerdict& verdict) {
                            return verdict.command == oracle::Outcome::kViolated;
                          }),
            5);
  EXPECT_THAT(report.note(0), HasSubstr("5 hold, 5 fail, 0 unknown"));
}

TEST_F(GuestOraclesTest, AStateIsLookedAtAsItTore) {
  Check check = recorded_.check;
  check.clear_enumerate();
  check.add_enumerate()->mutable_torn();
  check.mutable_model()->set_atomic_unit(512);
  check.set_max_states(150);
  auto source = DiskSource::FromRecording(*recorded_.reader, check.disk(), ModelOf(check.model()));
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  recorded_.source = *std::move(source);
  recorded_.states =
      crashstate::EnumerateStates(recorded_.space(), check, 1, &recorded_.source->timeline())
          .states;
  ASSERT_NO_FATAL_FAILURE(Judge());
  GuestOracles oracles(*recorded_.source, check, *fsck_, {});
  size_t broken = 0;
  for (size_t i = 0; i < recorded_.states.size(); ++i) {
    const oracle::HostView view = oracles.Look(recorded_.states[i]);
    EXPECT_EQ(view.recovery, verdicts_[i].recovery) << recorded_.IdOf(recorded_.states[i]);
    if (view.recovery != oracle::Outcome::kHolds) {
      ++broken;
      continue;
    }
    EXPECT_EQ(view.structure, verdicts_[i].structure) << recorded_.IdOf(recorded_.states[i]);
    broken += view.structure == oracle::Outcome::kViolated ? 1 : 0;
  }
  EXPECT_GT(broken, 0u);
}

TEST_F(GuestOraclesTest, WithoutAGuestTheSampleIsUnknownAndNotHeld) {
  ASSERT_NO_FATAL_FAILURE(Judge());
  Check check;
  check.add_oracle(KERNEL_MOUNT);
  check.mutable_kernel_mount()->set_max_states(3);
  const DiskReport report =
      Ask(check, [](const vm::MachineOptions&, const MountState&) { return Meeting(Fate::kEnd); });
  EXPECT_THAT(report.note(0), HasSubstr("0 agree, 0 disagree, 3 unknown"));
}

}  // namespace
}  // namespace plugpull::run
