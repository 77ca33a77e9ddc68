// SPDX-License-Identifier: Apache-2.0
// The kernel as the judge of our judges. Crash states of a file system without barriers, and some
// with a journal that was damaged on purpose, are given to a guest's kernel, unrecovered: what
// plugpull calls a refused journal it must refuse to mount, and what plugpull calls clean it must
// mount, and leave clean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "framework/crashstate/enumerate.h"
#include "framework/ext4/superblock.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/os/fd.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_source.h"
#include "framework/run/judge.h"
#include "tests/support/program.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/machine.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull {
namespace {

using ext4::JournalBlockType;
using ext4::JournalInspection;
using oracle::Outcome;
using Image = std::vector<uint8_t>;

constexpr char kScenario[] = R"(
name: "kernel_verdicts"
disk { name: "vol" size_mib: 24 layer { log_writes {} } }
step { mkfs { disk: "vol" type: "ext4" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" option: "data=writeback" option: "nobarrier" } }
step {
  workload {
    at: "/data"
    seed: 11
    files { count: 700 size_kib_max: 12 sync: FSYNC_EACH }
  }
}
step { unmount { at: "/data" } }
check {
  disk: "vol"
  enumerate { prefix {} max_states: 400 }
  enumerate { lose_one {} max_states: 400 }
  enumerate { lose_subset {} }
  max_states: 2000
  oracle: FSCK
}
expect { found: METADATA_INCONSISTENT found: JOURNAL_REFUSED }
)";

constexpr size_t kPerKind = 20;  // states of each kind
constexpr Millis kBootMax{60'000};
constexpr Millis kMountsMax{240'000};

void PutBe32(Image& image, size_t at, uint32_t value) {
  for (int i = 0; i < 4; ++i)
    image[at + static_cast<size_t>(i)] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

// The journal of an image, to be damaged. Offsets: jbd2.h of the kernel.
class JournalOfImage {
 public:
  JournalOfImage(Image& image, const ext4::JournalLayout& layout)
      : image_(image), layout_(layout), super_(*ext4::ReadJournalSuper(image, layout)) {
    for (const uint32_t place : ext4::InspectJournal(image, layout).used) {
      switch (ext4::ParseJournalHeader(Block(place)).type) {
        case JournalBlockType::kDescriptor:
          descriptors.push_back(place);
          data.push_back(place + 1 < super_.blocks ? place + 1 : super_.first);
          break;
        case JournalBlockType::kCommit:
          commits.push_back(place);
          break;
        case JournalBlockType::kRevoke:
          revokes.push_back(place);
          break;
        default:
          break;
      }
    }
  }

  // Places in the journal, in the order of the log.
  std::vector<uint32_t> descriptors;
  std::vector<uint32_t> data;  // the first block of each descriptor
  std::vector<uint32_t> commits;
  std::vector<uint32_t> revokes;

  size_t At(uint32_t place) const { return layout_.blocks[place] * layout_.block_bytes; }
  std::span<const uint8_t> Block(uint32_t place) const {
    return std::span<const uint8_t>(image_).subspan(At(place), layout_.block_bytes);
  }
  void Flip(uint32_t place, size_t offset) { image_[At(place) + offset] ^= 0x5a; }

  void SetCommitTime(uint32_t place, uint32_t seconds) {
    PutBe32(image_, At(place) + 48, 0);
    PutBe32(image_, At(place) + 52, seconds);
  }
  // Makes the checksum of a commit block right again.
  void SignCommit(uint32_t place) {
    PutBe32(image_, At(place) + 16, 0);
    PutBe32(image_, At(place) + 16, ext4::Crc32c(ext4::Crc32c(~0U, super_.uuid), Block(place)));
  }
  // Sets a field of the journal superblock; with its checksum made right, or left wrong.
  void SetSuper(size_t offset, uint32_t value, bool sign) {
    PutBe32(image_, At(0) + offset, value);
    if (!sign) return;
    PutBe32(image_, At(0) + 0xfc, 0);
    PutBe32(image_, At(0) + 0xfc, ext4::Crc32c(~0U, Block(0).first(1024)));
  }

 private:
  Image& image_;
  const ext4::JournalLayout& layout_;
  ext4::JournalSuper super_;
};

// As when the superblock of before the mount is on the disk.
void ClearNeedsRecovery(Image& image) {
  image[ext4::kSuperblockAt + 0x60] &= static_cast<uint8_t>(~ext4::kIncompatNeedsRecovery);
  const auto super = std::span<const uint8_t>(image).subspan(ext4::kSuperblockAt, 0x3fc);
  const uint32_t crc = ext4::Crc32c(~0U, super);
  for (size_t i = 0; i < 4; ++i) {
    image[ext4::kSuperblockAt + 0x3fc + i] = static_cast<uint8_t>(crc >> (8 * i));
  }
}

struct Damage {
  const char* what;
  std::function<void(Image&, JournalOfImage&)> apply;
};

const std::vector<Damage>& Damages() {
  static const std::vector<Damage> damages = {
      {"first descriptor", [](Image&, JournalOfImage& j) { j.Flip(j.descriptors.front(), 40); }},
      {"last descriptor", [](Image&, JournalOfImage& j) { j.Flip(j.descriptors.back(), 40); }},
      {"last descriptor's home block",
       [](Image&, JournalOfImage& j) { j.Flip(j.descriptors.back(), 15); }},
      {"first commit", [](Image&, JournalOfImage& j) { j.Flip(j.commits.front(), 56); }},
      {"last commit", [](Image&, JournalOfImage& j) { j.Flip(j.commits.back(), 56); }},
      {"commit in the middle",
       [](Image&, JournalOfImage& j) { j.Flip(j.commits[j.commits.size() / 2], 56); }},
      {"first data", [](Image&, JournalOfImage& j) { j.Flip(j.data.front(), 100); }},
      {"last data", [](Image&, JournalOfImage& j) { j.Flip(j.data.back(), 100); }},
      {"first revoke", [](Image&, JournalOfImage& j) { j.Flip(j.revokes.front(), 20); }},
      {"last commit is gone", [](Image&, JournalOfImage& j) { j.Flip(j.commits.back(), 0); }},
      {"last commit of another type",
       [](Image&, JournalOfImage& j) { j.Flip(j.commits.back(), 7); }},
      {"last commit of another number",
       [](Image&, JournalOfImage& j) { j.Flip(j.commits.back(), 11); }},
      {"first descriptor is gone",
       [](Image&, JournalOfImage& j) { j.Flip(j.descriptors.front(), 0); }},
      {"last descriptor, stale commit",
       [](Image&, JournalOfImage& j) {
         j.Flip(j.descriptors.back(), 40);
         j.SetCommitTime(j.commits.back(), 1);
       }},
      {"last commit, stale",
       [](Image&, JournalOfImage& j) { j.SetCommitTime(j.commits.back(), 1); }},
      {"last commit, old but signed",
       [](Image&, JournalOfImage& j) {
         j.SetCommitTime(j.commits.back(), 1);
         j.SignCommit(j.commits.back());
       }},
      {"last data, old but signed commit",
       [](Image&, JournalOfImage& j) {
         j.Flip(j.data.back(), 100);
         j.SetCommitTime(j.commits.back(), 1);
         j.SignCommit(j.commits.back());
       }},
      {"superblock unsigned", [](Image&, JournalOfImage& j) { j.SetSuper(0x50, 7, false); }},
      {"superblock unsigned, empty", [](Image&, JournalOfImage& j) { j.SetSuper(0x1c, 0, false); }},
      {"empty", [](Image&, JournalOfImage& j) { j.SetSuper(0x1c, 0, true); }},
      {"start behind the end", [](Image&, JournalOfImage& j) { j.SetSuper(0x1c, 1 << 20, true); }},
      {"start in the middle",
       [](Image&, JournalOfImage& j) { j.SetSuper(0x1c, j.descriptors[1], true); }},
      {"longer than its file", [](Image&, JournalOfImage& j) { j.SetSuper(0x10, 1 << 20, true); }},
      {"first block 0", [](Image&, JournalOfImage& j) { j.SetSuper(0x14, 0, true); }},
      {"another block size", [](Image&, JournalOfImage& j) { j.SetSuper(0x0c, 2048, true); }},
      {"unknown feature", [](Image&, JournalOfImage& j) { j.SetSuper(0x28, 0x812, true); }},
      {"no checksum features", [](Image&, JournalOfImage& j) { j.SetSuper(0x28, 0x2, true); }},
      {"checksums v2 and v3", [](Image&, JournalOfImage& j) { j.SetSuper(0x28, 0x1a, true); }},
      {"unknown checksum type",
       [](Image&, JournalOfImage& j) { j.SetSuper(0x50, 0x01000000, true); }},
      {"aborted with EIO",
       [](Image&, JournalOfImage& j) { j.SetSuper(0x20, static_cast<uint32_t>(-5), true); }},
      {"superblock is gone", [](Image&, JournalOfImage& j) { j.Flip(0, 0); }},
      {"no recovery asked for", [](Image& i, JournalOfImage&) { ClearNeedsRecovery(i); }},
      {"no recovery asked for, last descriptor",
       [](Image& i, JournalOfImage& j) {
         j.Flip(j.descriptors.back(), 40);
         ClearNeedsRecovery(i);
       }},
      {"no recovery asked for, last commit",
       [](Image& i, JournalOfImage& j) {
         j.Flip(j.commits.back(), 56);
         ClearNeedsRecovery(i);
       }},
      {"no recovery asked for, last data",
       [](Image& i, JournalOfImage& j) {
         j.Flip(j.data.back(), 100);
         ClearNeedsRecovery(i);
       }},
      {"no recovery asked for, superblock unsigned",
       [](Image& i, JournalOfImage& j) {
         j.SetSuper(0x50, 7, false);
         ClearNeedsRecovery(i);
       }},
      {"no recovery asked for, start behind the end",
       [](Image& i, JournalOfImage& j) {
         j.SetSuper(0x1c, 1 << 20, true);
         ClearNeedsRecovery(i);
       }},
  };
  return damages;
}

// An image, with what plugpull says of it.
struct Case {
  std::string kind;
  std::string name;
  std::string reason;  // of a refusal
  bool mounts = false;
};

// "transaction 12: the checksum of block 7 ..." without its numbers.
std::string KindOf(const std::string& reason) {
  std::string kind;
  for (const char c : reason) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0) kind += c;
  }
  return "refused: " + kind;
}

class KernelVerdictsTest : public ::testing::Test {
 protected:
  KernelVerdictsTest() : folder_("kernel-verdicts") {}

  void SetUp() override {
    WriteText(folder_ / "s.textproto", kScenario);
    const ProgramEnd recorded =
        RunPlugpull(folder_, {"record", "s.textproto", "--out", "out"}, Millis(240'000));
    ASSERT_EQ(recorded.status, 0) << recorded.err;
    auto reader = recording::Reader::Open(folder_ / "out/kernel_verdicts/default/recording");
    ASSERT_TRUE(reader.ok()) << reader.error().ToString();
    check_ = reader->manifest().scenario().check(0);
    auto source = run::DiskSource::FromRecording(*reader, "vol", run::ModelOf(check_.model()));
    ASSERT_TRUE(source.ok()) << source.error().ToString();
    source_ = *std::move(source);
    auto images = os::MakeScratchFile(folder_.path(), Bytes(0));
    ASSERT_TRUE(images.ok()) << images.error().ToString();
    images_ = *std::move(images);
    auto fsck = oracle::Fsck::Find();
    ASSERT_TRUE(fsck.ok()) << fsck.error().ToString();
    fsck_ = std::make_unique<oracle::Fsck>(*std::move(fsck));
  }

  size_t size() const { return source_->history().device_size.value; }

  Image Build(const crashstate::StateSpec& spec) {
    const std::string path = folder_ / "state";
    const Status written = source_->Materialize(crashstate::IdOf(source_->space(), spec), path);
    EXPECT_TRUE(written.ok()) << written.error().ToString();
    const auto file = os::MappedFile::Open(path);
    EXPECT_TRUE(file.ok());
    return file.ok() ? Image(file->bytes().begin(), file->bytes().end()) : Image(size());
  }

  // The images lie one behind the other in one file.
  void Add(Case one, const Image& image) {
    ASSERT_TRUE(os::PwriteAll(images_.get(), image, Bytes(cases_.size() * size())).ok());
    cases_.push_back(std::move(one));
  }

  // Judges all states and adds some of each kind, evenly.
  void AddCrashStates() {
    run::JudgeOptions options;
    options.content = false;
    options.jobs = 2;
    run::Judge judge(source_->space(), source_->journal(), source_->base_extents(), nullptr, *fsck_,
                     options);
    const auto enumeration = crashstate::EnumerateStates(source_->space(), check_, 1);
    const auto verdicts = judge.Run(enumeration.states);
    ASSERT_TRUE(verdicts.ok()) << verdicts.error().ToString();
    std::map<std::string, std::vector<std::pair<size_t, Case>>> kinds;
    std::set<std::string> seen;
    for (size_t i = 0; i < verdicts->size(); ++i) {
      const auto& verdict = (*verdicts)[i];
      Case one{"clean", crashstate::IdOf(source_->space(), enumeration.states[i]).ToString(), "",
               true};
      if (verdict.recovery == Outcome::kViolated) {
        one.kind = KindOf(*verdict.evidence);
        one.reason = *verdict.evidence;
        one.mounts = false;
      } else if (verdict.structure != Outcome::kHolds || verdict.recovery != Outcome::kHolds) {
        continue;
      }
      if (seen.insert(verdict.recovered.ToHex()).second) kinds[one.kind].emplace_back(i, one);
    }
    for (const auto& [kind, all] : kinds) {
      const size_t wanted = std::min(all.size(), kPerKind);
      for (size_t i = 0; i < wanted; ++i) {
        const auto& [index, one] = all[i * all.size() / wanted];
        Add(one, Build(enumeration.states[index]));
      }
      std::cout << kind << ": " << all.size() << ", of which the kernel sees " << wanted << "\n";
    }
    ChooseVictim(enumeration, *verdicts);
  }

  // A clean state with much to replay, revokes too.
  void ChooseVictim(const crashstate::Enumeration& enumeration,
                    const std::vector<run::StateVerdict>& verdicts) {
    size_t most = 0;
    for (size_t i = 0; i < verdicts.size(); i += 20) {
      if (verdicts[i].Worst() != Outcome::kHolds) continue;
      Image image = Build(enumeration.states[i]);
      const auto super = ext4::ParseSuperblock(image);
      if (!super.ok() || !super->needs_recovery()) continue;
      const JournalOfImage journal(image, source_->journal());
      if (journal.revokes.empty() || journal.commits.size() <= most) continue;
      most = journal.commits.size();
      victim_ = image;
    }
    ASSERT_GE(most, 3u) << "no state replays three transactions and a revoke";
  }

  // Damages the journal of one state in every way, and has each result judged.
  void AddDamages() {
    for (const Damage& damage : Damages()) {
      Image image = victim_;
      JournalOfImage journal(image, source_->journal());
      damage.apply(image, journal);
      auto work = oracle::WorkImage::Make(image, {{Bytes(0), Bytes(image.size())}});
      ASSERT_TRUE(work.ok()) << work.error().ToString();
      const auto recovery = fsck_->Recover(*work, source_->journal());
      EXPECT_NE(recovery.outcome, Outcome::kUnknown) << damage.what << ": " << recovery.evidence;
      const bool refused = recovery.outcome == Outcome::kViolated;
      Add({refused ? "damaged, refused" : "damaged, accepted", damage.what, recovery.evidence,
           !refused},
          image);
    }
  }

  void StartGuest() {
    const auto kernel = vm::ResolveKernel("debian:6.1");
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    vm::InitramfsOptions initramfs;
    initramfs.kernel = *kernel;
    initramfs.modules = vm::DefaultModules();
    initramfs.guest_folder = std::string(PLUGPULL_BINARY_DIR) + "/bin";
    const auto archive = vm::BuildInitramfs(initramfs);
    ASSERT_TRUE(archive.ok()) << archive.error().ToString();
    vm::MachineOptions options;
    options.kernel_image = kernel->image;
    options.initramfs = *archive;
    options.accelerator = "tcg";
    options.disks = {{"states", images_.get()}};
    options.console_log = folder_ / "console.log";
    auto machine = vm::StartQemu(options);
    ASSERT_TRUE(machine.ok()) << machine.error().ToString();
    machine_ = *std::move(machine);
    const auto hello = machine_->WaitForHello(os::Deadline::After(kBootMax));
    ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  }

  // Mounts every image, read-write; prints "INDEX mounted" or "INDEX refused" for each.
  void MountAllInGuest(std::string& output) {
    constexpr char kScript[] = R"sh(
      d=$(basename $(dirname $(grep -lx states /sys/block/vd*/serial)))
      for ((i = 0; i < COUNT; i++)); do
        dmsetup create --noudevsync s$i --table "0 $SECTORS linear /dev/$d $((i * SECTORS))"
        echo "state $i" > /dev/kmsg
        if mount -t ext4 /dev/mapper/s$i /mnt 2> /dev/null; then
          echo $i mounted
          umount /mnt
        else
          echo $i refused
        fi
        dmsetup remove --noudevsync s$i
      done)sh";
    GuestRequest request;
    auto& program = *request.mutable_run_program();
    for (const char* word : {"/bin/bash", "-c", kScript}) program.add_argv(word);
    program.add_environment("COUNT=" + std::to_string(cases_.size()));
    program.add_environment("SECTORS=" + std::to_string(size() / kSectorBytes));
    program.add_environment("DM_DISABLE_UDEV=1");
    program.set_timeout_ms(static_cast<uint32_t>(kMountsMax.count()));
    const auto answer = vm::Call(*machine_, request, kMountsMax + Millis(10'000));
    ASSERT_TRUE(answer.ok()) << answer.error().ToString();
    ASSERT_EQ(answer->exit_status(), 0) << answer->output();
    output = answer->output();
    GuestRequest off;
    off.mutable_power_off();
    ASSERT_TRUE(vm::Call(*machine_, off, kBootMax).ok());
    ASSERT_TRUE(machine_->WaitForEnd(os::Deadline::After(kBootMax)).ok());
  }

  // What the kernel made of an image that it mounted, judged by e2fsck.
  oracle::StructureResult CheckAfterKernel(size_t index) {
    Image image(size());
    EXPECT_TRUE(os::PreadAll(images_.get(), image, Bytes(index * size())).ok());
    auto work = oracle::WorkImage::Make(image, {{Bytes(0), Bytes(image.size())}});
    EXPECT_TRUE(work.ok());
    return work.ok() ? fsck_->Check(*work) : oracle::StructureResult{};
  }

  TestFolder folder_;
  Check check_;
  std::unique_ptr<run::DiskSource> source_;
  std::unique_ptr<oracle::Fsck> fsck_;
  std::vector<Case> cases_;
  Image victim_;
  os::Fd images_;
  std::unique_ptr<vm::Machine> machine_;
};

TEST_F(KernelVerdictsTest, TheKernelRefusesWhatIsRefusedAndMountsWhatIsClean) {
  ASSERT_NO_FATAL_FAILURE(AddCrashStates());
  ASSERT_NO_FATAL_FAILURE(AddDamages());
  ASSERT_NO_FATAL_FAILURE(StartGuest());
  std::string output;
  ASSERT_NO_FATAL_FAILURE(MountAllInGuest(output));
  std::istringstream lines(output);
  struct Agreed {
    int yes = 0;
    int of = 0;
  };
  std::map<std::string, Agreed> agreed;
  size_t index;
  std::string what;
  size_t answers = 0;
  while (lines >> index >> what) {
    ASSERT_EQ(index, answers++) << output;
    const Case& one = cases_[index];
    const bool agrees = (what == "mounted") == one.mounts;
    EXPECT_TRUE(agrees) << "image " << index << ", " << one.name << " (" << one.kind << ": "
                        << one.reason << "): the kernel says " << what;
    Agreed& count = agreed[one.kind];
    ++count.of;
    count.yes += agrees ? 1 : 0;
    if (what == "mounted" && one.kind == "clean") {
      const auto after = CheckAfterKernel(index);
      EXPECT_EQ(after.outcome, Outcome::kHolds)
          << "after the kernel mounted " << one.name << ": " << after.evidence;
    }
  }
  EXPECT_EQ(answers, cases_.size()) << output;
  int refused = 0;
  for (const auto& [kind, count] : agreed) {
    std::cout << kind << ": " << count.yes << " of " << count.of << " agree\n";
    refused += kind.starts_with("refused") ? count.yes : 0;
  }
  EXPECT_GE(agreed["clean"].yes, 6);
  EXPECT_GE(refused, 6);
  if (HasFailure()) {
    const auto console = os::ReadFile(folder_ / "console.log", Mebibytes(16));
    std::cout << (console.ok() ? *console : console.error().ToString());
  }
}

}  // namespace
}  // namespace plugpull
