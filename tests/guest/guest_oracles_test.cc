// SPDX-License-Identifier: Apache-2.0
// The oracles that need a guest, in a real one, on the golden recordings: the kernel agrees with
// e2fsck about states that held, were condemned and were refused; a file that is changed behind the
// kernel's back is caught; a guest that panics is charged to its state, and the batch goes on.
#include "framework/run/guest_oracles.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "../meta/recorded.h"
#include "framework/ext4/file_system.h"
#include "framework/oracle/state_command.h"
#include "framework/run/state_batch.h"
#include "tests/support/program.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {
namespace {

using oracle::HostView;
using oracle::MountSeen;
using oracle::Outcome;
using ::testing::AllOf;
using ::testing::HasSubstr;

// The test program lies beside other tests, not beside the guest's program.
Result<GuestImage> KernelImage() {
  const ScopedEnvironment guest("PLUGPULL_GUEST_DIR", std::string(PLUGPULL_BINARY_DIR) + "/bin");
  Guest wanted;
  wanted.set_kernel(os::GetEnv("PLUGPULL_TEST_KERNEL", "debian:6.1"));
  return PrepareGuestImage(wanted, "tcg", "");
}

class GuestOraclesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto fsck = oracle::Fsck::Find();
    ASSERT_TRUE(fsck.ok()) << fsck.error().ToString();
    fsck_ = std::make_unique<oracle::Fsck>(*std::move(fsck));
  }

  static StateBatchOptions BatchOptions() {
    StateBatchOptions options;
    options.image = KernelImage;
    options.scratch_folder = ::testing::TempDir();
    return options;
  }

  // Judges a golden recording and asks a kernel about a sample; says what came of it.
  DiskReport AskKernel(const Recorded& recorded, uint32_t states_max,
                       std::vector<StateVerdict>& verdicts) {
    JudgeOptions judge_options;
    judge_options.content = false;
    judge_options.jobs = 2;
    Judge judge(recorded.space(), recorded.source->journal(), recorded.source->base_extents(),
                nullptr, *fsck_, judge_options);
    auto judged = judge.Run(recorded.states);
    EXPECT_TRUE(judged.ok());
    verdicts = *std::move(judged);
    Check check;
    check.add_oracle(KERNEL_MOUNT);
    check.mutable_kernel_mount()->set_max_states(states_max);
    GuestOracleOptions options;
    options.kernel_image = KernelImage;
    GuestOracles oracles(*recorded.source, check, *fsck_, options);
    oracles.Ask(recorded.states, verdicts);
    DiskReport report;
    oracles.AddTo(report);
    for (size_t i = 0; i < verdicts.size(); ++i) {
      if (verdicts[i].kernel_evidence == nullptr) continue;
      EXPECT_EQ(verdicts[i].kernel, Outcome::kHolds)
          << recorded.IdOf(recorded.states[i]) << ": " << *verdicts[i].kernel_evidence;
    }
    EXPECT_EQ(report.note_size(), 1);
    std::cout << (report.note_size() > 0 ? report.note(0) : "") << "\n";
    return report;
  }

  std::unique_ptr<oracle::Fsck> fsck_;
};

TEST_F(GuestOraclesTest, TheKernelAgreesOnAnHonestDisk) {
  const Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  std::vector<StateVerdict> verdicts;
  const DiskReport report = AskKernel(recorded, 40, verdicts);
  EXPECT_THAT(report.note(0),
              AllOf(HasSubstr("40 states"), HasSubstr("40 agree, 0 disagree, 0 unknown")));
}

TEST_F(GuestOraclesTest, TheKernelAgreesOnWhatIsCondemnedAndRefused) {
  const Recorded recorded(GoldenRecording("writeback_nobarrier"));
  ASSERT_TRUE(recorded.ok());
  std::vector<StateVerdict> verdicts;
  const DiskReport report = AskKernel(recorded, 40, verdicts);
  EXPECT_THAT(report.note(0),
              AllOf(HasSubstr("condemned"), HasSubstr("journal refused"), HasSubstr("held"),
                    HasSubstr("40 agree, 0 disagree, 0 unknown")));
}

// The first regular file with so many bytes, and its first bytes; nothing when there is none.
std::optional<std::vector<uint8_t>> StartOfAFile(const std::vector<uint8_t>& image,
                                                 const FileTree& tree, size_t bytes) {
  auto fs = ext4::FileSystem::Open(image);
  if (!fs.ok()) return std::nullopt;
  for (const TreeEntry& entry : tree.entry()) {
    if (entry.kind() != TreeEntry::FILE || entry.size_bytes() < bytes) continue;
    const auto node = fs->Lookup(entry.path());
    std::vector<uint8_t> start(bytes);
    const bool read = node.ok() && *node && fs->Read((*node)->inode, 0, start).ok();
    if (read && start[0] != 0) return start;
  }
  return std::nullopt;
}

TEST_F(GuestOraclesTest, AFileThatChangesBehindTheKernelsBackIsCaught) {
  const Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  const auto& spec = *std::max_element(recorded.states.begin(), recorded.states.end(),
                                       [](const auto& a, const auto& b) { return a.cut < b.cut; });
  Check check;
  GuestOracles oracles(*recorded.source, check, *fsck_, {});
  const HostView host = oracles.Look(spec);
  ASSERT_EQ(host.structure, Outcome::kHolds) << host.evidence;
  ASSERT_TRUE(host.tree.has_value());
  const size_t size = recorded.source->history().device_size.value;

  StateBatchOptions options = BatchOptions();
  bool changed = false;
  options.start_machine = [&](const vm::MachineOptions& machine) {
    std::vector<uint8_t> image(size);
    EXPECT_TRUE(os::PreadAll(machine.disks[0].fd, image, Bytes(0)).ok());
    const auto start = StartOfAFile(image, *host.tree, 512);
    EXPECT_TRUE(start.has_value());
    // Wherever it lies: in its home block, and in the journal should it be there, too.
    for (auto at = image.begin();; ++at) {
      at = std::search(at, image.end(), start->begin(), start->end());
      if (at == image.end()) break;
      at[100] ^= 1;
      changed = true;
    }
    EXPECT_TRUE(os::PwriteAll(machine.disks[0].fd, image, Bytes(0)).ok());
    return vm::StartQemu(machine);
  };
  StateBatch batch(*recorded.source, std::move(options));
  MountState read_only;
  read_only.set_read_only(true);
  read_only.set_read_tree(true);
  MountState read_write = read_only;
  read_write.set_read_only(false);
  const auto seen = batch.Mount({{spec, recorded.IdOf(spec), {read_only, read_write}}});
  ASSERT_TRUE(changed);
  const auto verdict = oracle::CompareKernel(host, seen[0][0], seen[0][1]);
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  EXPECT_THAT(verdict.evidence,
              AllOf(HasSubstr("is not what the host recovered"), HasSubstr("content")));
}

TEST_F(GuestOraclesTest, CommandsAreJudgedAndAPanicIsChargedToItsState) {
  const Recorded recorded(GoldenRecording("ordered"));
  ASSERT_TRUE(recorded.ok());
  const auto running = [&](const std::string& script, uint32_t timeout_ms = 30'000) {
    MountState mount;
    for (const char* word : {"/bin/bash", "-c"}) mount.mutable_command()->add_argv(word);
    mount.mutable_command()->add_argv(script);
    mount.mutable_command()->set_timeout_ms(timeout_ms);
    mount.add_mark("done row-1");
    mount.add_mark("note x y");
    return oracle::StateToMount{recorded.states.back(), "a state", {mount}};
  };
  StateBatch batch(*recorded.source, BatchOptions());
  const auto seen = batch.Mount({
      running("[ \"$PWD\" = \"$PLUGPULL_MOUNT\" ] && [ -d lost+found ] && touch x && "
              "[ \"$(cat \"$PLUGPULL_MARKS\")\" = $'done row-1\\nnote x y' ]"),
      running("[ ! -e x ] || exit 9; echo it is wrong; exit 3"),
      running("echo c > /proc/sysrq-trigger"),
      running("exit 0"),
      running("while :; do :; done", 1500),
      running("/no/such/checker"),
  });
  std::vector<oracle::CommandVerdict> verdicts;
  for (const auto& of_state : seen) verdicts.push_back(oracle::JudgeCommand(of_state.at(0)));
  EXPECT_EQ(verdicts[0].outcome, Outcome::kHolds) << verdicts[0].evidence;
  EXPECT_EQ(verdicts[1].outcome, Outcome::kViolated);
  EXPECT_THAT(verdicts[1].evidence, AllOf(HasSubstr("with 3"), HasSubstr("it is wrong")));
  EXPECT_EQ(verdicts[2].outcome, Outcome::kViolated);
  EXPECT_THAT(verdicts[2].evidence, AllOf(HasSubstr("panic"), HasSubstr("sysrq")));
  EXPECT_EQ(verdicts[3].outcome, Outcome::kHolds) << verdicts[3].evidence;
  EXPECT_EQ(verdicts[4].outcome, Outcome::kUnknown);
  EXPECT_THAT(verdicts[4].evidence, HasSubstr("did not end in time"));
  EXPECT_EQ(verdicts[5].outcome, Outcome::kUnknown) << verdicts[5].evidence;
  EXPECT_EQ(batch.guests(), 2u);
}

}  // namespace
}  // namespace plugpull::run
