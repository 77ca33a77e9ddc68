// SPDX-License-Identifier: Apache-2.0
#include "damage_table.h"

#include <fmt/format.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <re2/re2.h>

#include <cerrno>
#include <cstring>

#include "framework/os/file.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull {
namespace {

constexpr Bytes kDiskBytes = Mebibytes(16);
constexpr Millis kCallMax{300'000};
constexpr Millis kBootMax{180'000};
constexpr char kMountPoint[] = "/data";

// blkid's exit status, and TYPE and PTTYPE as it prints them.
std::string BlkidInWords(const Answer& answer) {
  std::string words = std::to_string(answer.exit_status());
  std::string value;
  for (const char* tag : {"TYPE", "PTTYPE"}) {
    if (RE2::PartialMatch(answer.output(), fmt::format("(?m)^{}=(.*)$", tag), &value)) {
      words += fmt::format(" {}={}", tag, value);
    }
  }
  return words;
}

}  // namespace

DamageGuest::DamageGuest(const std::string& kernel) {
  Start(kernel);
  if (machine_) MakePristine();
}

DamageGuest::~DamageGuest() {
  if (!machine_) return;
  GuestRequest off;
  off.mutable_power_off();
  Do(off);
  EXPECT_TRUE(machine_->WaitForEnd(os::Deadline::After(kCallMax)).ok());
}

void DamageGuest::Start(const std::string& kernel_name) {
  auto kernel = vm::ResolveKernel(kernel_name);
  ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
  vm::InitramfsOptions initramfs;
  initramfs.kernel = *kernel;
  initramfs.guest_folder = std::string(PLUGPULL_BINARY_DIR) + "/bin";
  initramfs.modules = vm::DefaultModules();
  const auto archive = vm::BuildInitramfs(initramfs);
  ASSERT_TRUE(archive.ok()) << archive.error().ToString();
  auto disk = os::MakeScratchFile(::testing::TempDir(), kDiskBytes);
  auto pristine = os::MakeScratchFile(::testing::TempDir(), kDiskBytes);
  ASSERT_TRUE(disk.ok() && pristine.ok());
  disk_ = std::move(*disk);
  pristine_ = std::move(*pristine);
  vm::MachineOptions options;
  options.kernel_image = kernel->image;
  options.initramfs = *archive;
  options.accelerator = "tcg";
  options.disks = {{"vol", disk_.get()}, {"pristine", pristine_.get()}};
  auto machine = vm::StartQemu(options);
  ASSERT_TRUE(machine.ok()) << machine.error().ToString();
  const auto hello = (*machine)->WaitForHello(os::Deadline::After(kBootMax));
  ASSERT_TRUE(hello.ok()) << hello.error().ToString();
  machine_ = std::move(*machine);
}

Answer DamageGuest::Do(const GuestRequest& request) {
  const auto answer = vm::Call(*machine_, request, kCallMax);
  EXPECT_TRUE(answer.ok()) << answer.error().ToString();
  if (!answer.ok()) return {};
  EXPECT_FALSE(answer->error().infrastructure()) << answer->error().message();
  return *answer;
}

Answer DamageGuest::Run(const std::vector<std::string>& argv) {
  GuestRequest request;
  RunGuestProgram& program = *request.mutable_run_program();
  for (const std::string& word : argv) program.add_argv(word);
  for (const char* variable : {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000",
                               "E2FSPROGS_FAKE_TIME=1700000000"}) {
    program.add_environment(variable);
  }
  program.set_timeout_ms(static_cast<uint32_t>(kCallMax.count()));
  return Do(request);
}

// An ext4 of two block groups' worth of files, unmounted, on the second disk.
void DamageGuest::MakePristine() {
  for (const char* name : {"vol", "pristine"}) {
    GuestRequest request;
    SetUpDisk& disk = *request.mutable_set_up_disk();
    disk.set_disk(name);
    disk.set_data_serial(name);
    disk.set_size_sectors(ToSectors(kDiskBytes).value);
    const Answer answer = Do(request);
    (std::string(name) == "vol" ? device_ : pristine_device_) = answer.device();
  }
  const Answer made = Run({"mkfs.ext4", "-q", "-F", "-b", "1024", "-g", "2048", "-J", "size=1",
                           "-U", "7b1f3c52-0d4e-4a68-9c71-5e2a90b6d813", "-E",
                           "nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed="
                           "2c9e51d4-88f7-4b0a-a6c3-1f7d42e09b65",
                           device_});
  ASSERT_EQ(made.exit_status(), 0) << made.output();
  ASSERT_EQ(Mount(), "ok");
  const Answer filled = Run({"/bin/bash", "-c",
                             "cd /data && mkdir d && for i in 1 2 3 4 5 6 7 8; do head -c 20000 "
                             "/dev/zero | tr '\\0' x > d/f$i || exit 1; done"});
  ASSERT_EQ(filled.exit_status(), 0) << filled.output();
  GuestRequest unmount;
  unmount.mutable_unmount()->set_at(kMountPoint);
  ASSERT_FALSE(Do(unmount).has_error());
  const Answer copied = Run({"dd", "if=" + device_, "of=" + pristine_device_, "bs=1M"});
  ASSERT_EQ(copied.exit_status(), 0) << copied.output();
  ready_ = true;
}

void DamageGuest::Restore(const DamageRow& row) {
  const std::string from = row.blank ? "/dev/zero" : pristine_device_;
  const Answer copied = Run({"dd", "if=" + from, "of=" + device_, "bs=1M",
                             fmt::format("count={}", kDiskBytes.value >> 20)});
  ASSERT_EQ(copied.exit_status(), 0) << copied.output();
  for (const std::string& text : row.steps) {
    GuestRequest request;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString("disk: 'vol' " + text,
                                                              request.mutable_corrupt()));
    const Answer answer = Do(request);
    ASSERT_FALSE(answer.has_error()) << row.name << ": " << answer.error().message();
    EXPECT_GT(answer.damage_evidence().piece_size(), 0);
  }
}

void DamageGuest::FailSuperblockReads(bool fail) {
  vm::DiskControl* control = machine_->disk_control();
  ASSERT_NE(control, nullptr);
  vm::RequestFault fault;
  fault.sector = 2;
  fault.once = false;
  fault.error_number = EIO;
  const Status done = fail ? control->FailRequests(0, fault) : control->Heal(0);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  // What is cached is not read.
  EXPECT_EQ(Run({"/bin/bash", "-c", "echo 3 > /proc/sys/vm/drop_caches"}).exit_status(), 0);
}

// What the kernel has logged of file systems since the last call; lines of success, and of
// unmounting, are left out.
std::string DamageGuest::KernelLog() {
  GuestRequest request;
  request.mutable_take_kernel_log();
  const Answer answer = Do(request);
  EXPECT_FALSE(answer.kernel_log_cut());
  std::string joined;
  for (const KernelLine& line : answer.kernel_line()) {
    std::string text = line.text();
    if (!RE2::PartialMatch(text, "EXT4-fs|JBD2|VFS:|EXT4-") ||
        RE2::PartialMatch(text, "(re-)?(un)?mount(ed|ing) filesystem")) {
      continue;
    }
    RE2::Replace(&text, "^(EXT4-fs[a-z ]*) \\(?(device )?vd[a-z]\\)?", "\\1");
    // Lines of the kernel's source move with every release.
    RE2::GlobalReplace(&text, "([a-z0-9_]+):[0-9]+: ", "\\1: ");
    RE2::GlobalReplace(&text, "(\\\\x0a)+$", "");  // a newline in the message, as /dev/kmsg has it
    RE2::GlobalReplace(&text, "comm [a-z0-9-]+", "comm C");
    joined += (joined.empty() ? "" : " / ") + text;
  }
  return joined;
}

std::string DamageGuest::Mount() {
  GuestRequest request;
  request.mutable_mount()->set_disk("vol");
  request.mutable_mount()->set_at(kMountPoint);
  request.mutable_mount()->set_type("ext4");
  const Answer answer = Do(request);
  if (answer.has_error()) {
    const char* name = ::strerrorname_np(answer.error().error_number());
    return name == nullptr ? answer.error().message() : name;
  }
  const std::string mounts = Run({"cat", "/proc/mounts"}).output();
  return RE2::PartialMatch(mounts, "(?m) /data ext4 ro") ? "ok, ro" : "ok";
}

Observed DamageGuest::Ask(const DamageRow& row) {
  Observed seen;
  Restore(row);
  if (::testing::Test::HasFatalFailure()) return seen;
  if (row.read_error) FailSuperblockReads(true);
  seen.blkid =
      BlkidInWords(Run({"blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device_}));
  KernelLog();
  seen.mount = Mount();
  if (seen.mount.starts_with("ok")) {
    GuestRequest unmount;
    unmount.mutable_unmount()->set_at(kMountPoint);
    EXPECT_FALSE(Do(unmount).has_error());
  }
  seen.kernel_log = KernelLog();
  seen.fsck_after = Run({"e2fsck", "-p", device_}).exit_status();
  if (row.read_error) FailSuperblockReads(false);
  Restore(row);
  if (row.read_error) FailSuperblockReads(true);
  seen.fsck_check = Run({"e2fsck", "-fn", device_}).exit_status();
  seen.fsck_preen = Run({"e2fsck", "-p", device_}).exit_status();
  if (row.read_error) FailSuperblockReads(false);
  return seen;
}

const std::vector<DamageRow>& DamageRows() {
  static const std::string kNotFound = "VFS: Can't find ext4 filesystem";
  static const std::vector<DamageRow> rows = {
      {"none", false, {}, "0 TYPE=ext4", "ok", "ok", "", 0, 0},
      {"none, blank disk", true, {}, "2", "EINVAL", "EINVAL", kNotFound, 8, 8},
      {"magic_zeroed", false, {"damage: MAGIC_ZEROED"}, "2", "EINVAL", "EINVAL", kNotFound, 8, 8},
      {"first_1k_zeroed", false, {"damage: FIRST_1K_ZEROED"}, "0 TYPE=ext4", "ok", "ok", "", 0, 0},
      {"first_2k_zeroed",
       false,
       {"damage: FIRST_2K_ZEROED"},
       "2",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"first_4k_zeroed",
       false,
       {"damage: FIRST_4K_ZEROED"},
       "2",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"first_1m_zeroed",
       false,
       {"damage: FIRST_1M_ZEROED"},
       "2",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"superblock_checksum",
       false,
       {"damage: SUPERBLOCK_CHECKSUM"},
       "0 TYPE=ext4",
       "EBADMSG",
       "EBADMSG",
       "VFS: Found ext4 filesystem with invalid superblock checksum.  Run e2fsck\\?",
       8,
       8},
      {"unknown_incompat",
       false,
       {"damage: UNKNOWN_INCOMPAT"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "Couldn't mount because of unsupported optional features \\(80000\\)",
       8,
       8},
      {"log_block_size",
       false,
       {"damage: LOG_BLOCK_SIZE"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "Invalid log block size: 20",
       8,
       8},
      {"inodes_per_group_zero",
       false,
       {"damage: INODES_PER_GROUP_ZERO"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "invalid inodes per group: 0",
       8,
       8},
      {"blocks_count_huge",
       false,
       {"damage: BLOCKS_COUNT_HUGE"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "bad geometry: block count 1073741824 exceeds size of device",
       8,
       8},
      {"superblock_field s_blocks_count_lo = 32768 (twice the disk)",
       false,
       {"superblock_field { field: 's_blocks_count_lo' value: 32768 }"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "bad geometry: block count 32768 exceeds size of device",
       4,
       4},
      {"rev_level",
       false,
       {"damage: REV_LEVEL"},
       "0 TYPE=ext4",
       "ok, ro",
       "ok, ro",
       "revision level too high, forcing read-only mode",
       8,
       8},
      {"group_descriptors_zeroed",
       false,
       {"damage: GROUP_DESCRIPTORS_ZEROED"},
       "0 TYPE=ext4",
       "EUCLEAN",
       "EUCLEAN",
       "group descriptors corrupted!",
       4,
       4},
      {"root_inode_cleared",
       false,
       {"damage: ROOT_INODE_CLEARED"},
       "0 TYPE=ext4",
       "EUCLEAN",
       "EUCLEAN",
       "get root inode failed.*mount failed",
       0,
       4},
      {"journal_superblock_zeroed",
       false,
       {"damage: JOURNAL_SUPERBLOCK_ZEROED"},
       "0 TYPE=ext4",
       "EINVAL",
       "EINVAL",
       "JBD2: no valid journal superblock found",
       1,
       1},
      {"journal_inode_cleared",
       false,
       {"damage: JOURNAL_INODE_CLEARED"},
       "0 TYPE=ext4",
       "EINVAL",
       "EUCLEAN",
       "no journal found",
       1,
       1},
      {"block_bitmap_zeroed",
       false,
       {"damage: BLOCK_BITMAP_ZEROED"},
       "0 TYPE=ext4",
       "ok",
       "ok",
       "",
       0,
       0},
      {"inode_bitmap_zeroed",
       false,
       {"damage: INODE_BITMAP_ZEROED"},
       "0 TYPE=ext4",
       "ok",
       "ok",
       "",
       0,
       0},
      {"signature_mbr, blank disk",
       true,
       {"damage: SIGNATURE_MBR"},
       "0 PTTYPE=dos",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"signature_mbr",
       false,
       {"damage: SIGNATURE_MBR"},
       "0 TYPE=ext4 PTTYPE=dos",
       "ok",
       "ok",
       "",
       0,
       0},
      {"signature_gpt, blank disk",
       true,
       {"damage: SIGNATURE_GPT"},
       "0 PTTYPE=gpt",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"signature_gpt",
       false,
       {"damage: SIGNATURE_GPT"},
       "0 PTTYPE=gpt",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"signature_luks, blank disk",
       true,
       {"damage: SIGNATURE_LUKS"},
       "0 TYPE=crypto_LUKS",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"signature_luks",
       false,
       {"damage: SIGNATURE_LUKS"},
       "0 TYPE=crypto_LUKS",
       "ok",
       "ok",
       "",
       0,
       0},
      {"signature_xfs, blank disk",
       true,
       {"damage: SIGNATURE_XFS"},
       "0 TYPE=xfs",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"signature_xfs", false, {"damage: SIGNATURE_XFS"}, "8", "ok", "ok", "", 0, 0},
      {"backup_superblocks", false, {"backup_superblocks {}"}, "0 TYPE=ext4", "ok", "ok", "", 0, 0},
      {"magic_zeroed and backup_superblocks",
       false,
       {"backup_superblocks {}", "damage: MAGIC_ZEROED"},
       "2",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"superblock_field s_state = 3 (clean, with errors)",
       false,
       {"superblock_field { field: 's_state' value: 3 }"},
       "0 TYPE=ext4",
       "ok",
       "ok",
       "warning: mounting fs with errors, running e2fsck is recommended",
       0,
       0},
      {"superblock_field s_max_mnt_count = 1, checksum left wrong",
       false,
       {"superblock_field { field: 's_max_mnt_count' value: 1 fix_checksum: false }"},
       "0 TYPE=ext4",
       "EBADMSG",
       "EBADMSG",
       "VFS: Found ext4 filesystem with invalid superblock checksum.  Run e2fsck\\?",
       8,
       8},
      {"flip_bit in byte 1080 (s_magic)",
       false,
       {"flip_bit { offset: 1080 bit: 0 }"},
       "2",
       "EINVAL",
       "EINVAL",
       kNotFound,
       8,
       8},
      {"zap_inode_blocks of /d/f1 (a file)",
       false,
       {"zap_inode_blocks { path: '/d/f1' }"},
       "0 TYPE=ext4",
       "ok",
       "ok",
       "",
       0,
       0},
      {"zap_inode_blocks of inode 2 (the root folder)",
       false,
       {"zap_inode_blocks { inode: 2 }"},
       "0 TYPE=ext4",
       "ok",
       "ok",
       "",
       0,
       0},
      {"raw at byte 2048 (one sector of the group descriptors)",
       false,
       {"raw { offset: 2048 bytes: '\\xff' repeat: 512 }"},
       "0 TYPE=ext4",
       "EUCLEAN",
       "EUCLEAN",
       "group descriptors corrupted!",
       4,
       4},
      {"superblock read error (a fault of the device, no damage)",
       false,
       {},
       "2",
       "EIO",
       "EIO",
       "unable to read superblock",
       8,
       8,
       true},
  };
  return rows;
}

}  // namespace plugpull
