// SPDX-License-Identifier: Apache-2.0
// Single kernel messages, as kernels from 4.14 to 6.12 print them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/incident/storage_line.h"

namespace plugpull::incident {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kUuid[] = "0f3b5a1e-9a57-4b50-8f0a-1d2c3b4a5968";

StorageLine Parsed(const std::string& text) {
  const auto line = ParseStorageLine(text);
  EXPECT_TRUE(line.has_value()) << text;
  return line.value_or(StorageLine());
}

TEST(IncidentLine, Ext4MountsOfAllKernels) {
  const std::string uuid = kUuid;
  for (const std::string& text :
       {std::string("mounted filesystem with ordered data mode. Opts: (null)"),
        std::string("mounted filesystem with ordered data mode. Opts: (null). Quota mode: none."),
        std::string("mounted filesystem with ordered data mode. Quota mode: none."),
        "mounted filesystem " + uuid + " with ordered data mode. Quota mode: none.",
        "mounted filesystem " + uuid + " r/w with ordered data mode. Quota mode: none."}) {
    const StorageLine line = Parsed("EXT4-fs (nvme0n1p2): " + text);
    EXPECT_EQ(line.kind, LineKind::kMounted);
    EXPECT_EQ(line.fs, FileSystem::kExt4);
    EXPECT_EQ(line.device, "nvme0n1p2");
    EXPECT_THAT(line.options, ElementsAre("data=ordered"));
    EXPECT_EQ(line.uuid, text.find(uuid) == std::string::npos ? "" : uuid);
  }
  EXPECT_THAT(Parsed("EXT4-fs (vdo): mounted filesystem with writeback data mode.").options,
              ElementsAre("data=writeback"));
  EXPECT_THAT(Parsed("EXT4-fs (a): mounted filesystem with journalled data mode. Opts: "
                     "nodelalloc,barrier=0,x\x01y")
                  .options,
              ElementsAre("data=journal", "nodelalloc", "barrier=0"));
  EXPECT_THAT(Parsed("EXT4-fs (vdb): mounted filesystem " + uuid + " ro without journal.").options,
              ElementsAre("ro"));
  EXPECT_THAT(Parsed("EXT4-fs (vdb): barriers disabled").options, ElementsAre("nobarrier"));
  EXPECT_EQ(Parsed("EXT4-fs (vdb): unmounting filesystem " + uuid + ".").kind,
            LineKind::kUnmounted);
  EXPECT_EQ(Parsed("EXT4-fs (vdb): re-mounted. Opts: (null)").kind, LineKind::kRemounted);
}

TEST(IncidentLine, FailuresOfExt4) {
  const std::pair<const char*, Failure> kLines[] = {
      {"VFS: Can't find ext4 filesystem", Failure::kNotRecognised},
      {"VFS: Found ext4 filesystem with invalid superblock checksum.  Run e2fsck?",
       Failure::kChecksum},
      {"Couldn't mount because of unsupported optional features (80000)", Failure::kFeatures},
      {"couldn't mount RDWR because of unsupported optional features (400)", Failure::kFeatures},
      {"Invalid log block size: 20", Failure::kGeometry},
      {"invalid inodes per group: 0", Failure::kGeometry},
      {"bad geometry: block count 99999999 exceeds size of device (16384 blocks)",
       Failure::kGeometry},
      {"group descriptors corrupted!", Failure::kDescriptors},
      {"get root inode failed", Failure::kRootInode},
      {"no journal found", Failure::kJournal},
      {"unable to read superblock", Failure::kReadError},
  };
  for (const auto& [text, failure] : kLines) {
    const StorageLine line = Parsed(std::string("EXT4-fs (dm-2): ") + text);
    EXPECT_EQ(line.kind, LineKind::kMountFailed) << text;
    EXPECT_EQ(line.failure, failure) << text;
    EXPECT_FALSE(line.follows) << text;
    EXPECT_EQ(line.device, "dm-2");
  }
  for (const char* text :
       {"mount failed", "error loading journal", "Could not load journal inode"}) {
    EXPECT_TRUE(Parsed(std::string("EXT4-fs (vdb): ") + text).follows) << text;
  }
}

TEST(IncidentLine, TroubleOfAMountedFileSystem) {
  EXPECT_EQ(Parsed("EXT4-fs error (device vdb): ext4_lookup:1857: inode #2: comm ls: iget: "
                   "checksum invalid")
                .kind,
            LineKind::kFileSystemError);
  EXPECT_EQ(Parsed("EXT4-fs error (device vdb): ext4_journal_check_start:83: Detected aborted "
                   "journal")
                .kind,
            LineKind::kJournalError);
  EXPECT_EQ(Parsed("EXT4-fs (vdb): Remounting filesystem read-only").kind, LineKind::kReadOnly);
  EXPECT_EQ(Parsed("EXT4-fs (vdb): recovery complete").kind, LineKind::kRecovered);
  EXPECT_EQ(Parsed("EXT4-fs (vdb): 3 orphan inodes deleted").kind, LineKind::kOrphans);
  const StorageLine abort = Parsed("Aborting journal on device dm-3-8.");
  EXPECT_EQ(abort.kind, LineKind::kJournalError);
  EXPECT_EQ(abort.device, "dm-3");
  EXPECT_EQ(Parsed("JBD2: Error -5 detected when updating journal superblock for vdb1-8.").device,
            "vdb1");
  for (const char* text :
       {"blk_update_request: I/O error, dev vdb, sector 2048 op 0x1:(WRITE) flags 0x800",
        "I/O error, dev vdb, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
        "critical medium error, dev vdb, sector 8", "print_req_error: I/O error, dev vdb, sector 1",
        "Buffer I/O error on dev vdb, logical block 0, async page read",
        "Buffer I/O error on device vdb, logical block 0",
        "lost page write due to I/O error on vdb"}) {
    EXPECT_EQ(Parsed(text).kind, LineKind::kIoError) << text;
    EXPECT_EQ(Parsed(text).device, "vdb") << text;
  }
  const StorageLine suppressed = Parsed("EXT4-fs mount: 25 callbacks suppressed");
  EXPECT_EQ(suppressed.kind, LineKind::kSuppressed);
  EXPECT_EQ(suppressed.count, 25U);
}

TEST(IncidentLine, DisksThatComeAndGo) {
  const StorageLine virtio =
      Parsed("virtio_blk virtio4: [vdb] 104857600 512-byte logical blocks (53.7 GB/50.0 GiB)");
  EXPECT_EQ(virtio.kind, LineKind::kAttached);
  EXPECT_EQ(virtio.device, "vdb");
  EXPECT_EQ(virtio.slot, "virtio4");
  EXPECT_EQ(virtio.size_bytes, 53687091200U);
  EXPECT_EQ(Parsed("virtio_blk virtio18: [vdo] * 512-byte logical blocks").size_bytes,
            std::nullopt);
  EXPECT_FALSE(
      ParseStorageLine("virtio_blk virtio4: [vdb] new size: 209715200 512-byte logical blocks (107 "
                       "GB/100 GiB)")
          .has_value());
  const StorageLine eject = Parsed("virtio-pci 0000:00:07.0: EDR: ACPI event 0x3 received");
  EXPECT_EQ(eject.kind, LineKind::kDetached);
  EXPECT_EQ(eject.slot, "0000:00:07.0");
  const StorageLine size =
      Parsed("sd 2:0:0:0: [sdb] 2097152 512-byte logical blocks: (1.07 GB/1.00 GiB)");
  EXPECT_EQ(size.kind, LineKind::kSize);
  EXPECT_EQ(size.size_bytes, 1U << 30);
  EXPECT_EQ(Parsed("sd 2:0:0:0: [sdb] Attached SCSI disk").kind, LineKind::kAttached);
  EXPECT_EQ(Parsed("sd 2:0:0:0: [sdb] Synchronizing SCSI cache").kind, LineKind::kDetached);
  EXPECT_EQ(Parsed("nvme nvme1: pci function 0000:00:1f.0").device, "nvme1n1");
  EXPECT_EQ(Parsed("loop0: detected capacity change from 0 to 2048").kind, LineKind::kAttached);
  EXPECT_EQ(Parsed("vdb: detected capacity change from 2048 to 0").kind, LineKind::kDetached);
  EXPECT_FALSE(ParseStorageLine("vdb: detected capacity change from 0 to 2048").has_value());
}

TEST(IncidentLine, XfsAndBtrfs) {
  const std::string uuid = kUuid;
  const StorageLine begins = Parsed("XFS (vdb): Mounting V5 Filesystem " + uuid);
  EXPECT_EQ(begins.kind, LineKind::kMountBegins);
  EXPECT_EQ(begins.uuid, uuid);
  EXPECT_EQ(Parsed("XFS (vdb): Ending clean mount").kind, LineKind::kMounted);
  EXPECT_EQ(Parsed("XFS (vdb): Invalid superblock magic number").failure, Failure::kNotRecognised);
  EXPECT_EQ(Parsed("XFS (vdb): Unmounting Filesystem " + uuid).kind, LineKind::kUnmounted);
  const StorageLine mounted = Parsed("BTRFS info (device vdb): first mount of filesystem " + uuid);
  EXPECT_EQ(mounted.kind, LineKind::kMounted);
  EXPECT_EQ(mounted.uuid, uuid);
  const StorageLine failed = Parsed("BTRFS error (device vdb): open_ctree failed: -22");
  EXPECT_EQ(failed.kind, LineKind::kMountFailed);
  EXPECT_TRUE(failed.follows);
  EXPECT_EQ(Parsed("BTRFS info (device vdb state EA): forced readonly").device, "vdb");
  EXPECT_EQ(
      Parsed("BTRFS: error (device dm-2 state EA) in cleanup_transaction:2068: errno=-30").device,
      "dm-2");
}

TEST(IncidentLine, OtherMessagesSayNothing) {
  for (const char* text :
       {"", "EXT4-fs", "EXT4-fs (", "EXT4-fs ()", "EXT4-fs (vdb)", "EXT4-fs (vd b): mounted",
        "EXT4-fs (vdb): warning: maximal mount count reached, running e2fsck is recommended",
        "EXT4-fs (\x1b[2J): VFS: Can't find ext4 filesystem", "virtio_blk virtio4: 2/0/0 queues",
        "pci 0000:00:07.0: BAR 0: assigned [mem 0xc0000000-0xc0000fff 64bit pref]",
        "device veth90aa64e9 entered promiscuous mode", "sd ", "nvme nvme", "XFS (", "BTRFS (",
        "my_driver: I/O error, dev , sector 5", ": 5 callbacks suppressed"}) {
    EXPECT_FALSE(ParseStorageLine(text).has_value()) << text;
  }
}

TEST(IncidentLine, PartitionsAreOnDisks) {
  EXPECT_EQ(DiskOf("vdb"), "vdb");
  EXPECT_EQ(DiskOf("vdb12"), "vdb");
  EXPECT_EQ(DiskOf("sdaa1"), "sdaa");
  EXPECT_EQ(DiskOf("nvme0n1"), "nvme0n1");
  EXPECT_EQ(DiskOf("nvme0n1p2"), "nvme0n1");
  EXPECT_EQ(DiskOf("mmcblk0p1"), "mmcblk0");
  EXPECT_EQ(DiskOf("loop0"), "loop0");
  EXPECT_EQ(DiskOf("dm-3"), "dm-3");
  EXPECT_EQ(DiskOf("vd"), "vd");
}

}  // namespace
}  // namespace plugpull::incident
