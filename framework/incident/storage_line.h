// SPDX-License-Identifier: Apache-2.0
// What one kernel message says of a disk or of a file system on one.
// Sources: fs/ext4/super.c, fs/jbd2/journal.c, fs/xfs/xfs_mount.c, xfs_log.c and xfs_log_recover.c,
// fs/btrfs/disk-io.c and super.c, drivers/block/virtio_blk.c, drivers/scsi/sd.c,
// drivers/nvme/host/pci.c, block/blk-core.c, fs/buffer.c, lib/ratelimit.c; kernels 4.14 to 6.12.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plugpull::incident {

inline constexpr size_t kOptionsMax = 32;      // mount options of one message
inline constexpr size_t kOptionBytesMax = 64;  // of one of them

enum class FileSystem { kUnknown, kExt4, kXfs, kBtrfs };
// "ext4", "xfs", "btrfs"; empty when it is not known.
const char* FileSystemName(FileSystem fs);

// Why a mount failed.
enum class Failure {
  kNone,
  kNotRecognised,  // nothing on the disk that the file system knows as its own
  kChecksum,       // a superblock with a wrong checksum
  kFeatures,       // one that this kernel cannot mount
  kGeometry,       // sizes that cannot be
  kDescriptors,    // group descriptors
  kRootInode,
  kJournal,    // it cannot be read, replayed or found
  kReadError,  // the disk did not give the superblock
  kOptions,    // the mount options
  kOther,
};
inline constexpr int kFailures = 11;
// "not recognised", "superblock checksum"...
const char* FailureWords(Failure failure);

enum class LineKind {
  kAttached,
  kDetached,     // or about to be: an eject request, the last flush of the SCSI layer
  kSize,         // of a SCSI disk, which says it before it is attached
  kBusAddress,   // a virtio device is set up at `slot`; its disk is named next
  kMountBegins,  // XFS says so, with its UUID
  kMounted,
  kMountFailed,
  kOption,  // of the mount that follows
  kUnmounted,
  kRemounted,
  kReadOnly,  // the file system has stopped writing by itself
  kRecovered,
  kOrphans,
  kFileSystemError,
  kJournalError,
  kIoError,
  kSuppressed,  // `count` messages of a file system were not printed
};

struct StorageLine {
  LineKind kind = LineKind::kIoError;
  FileSystem fs = FileSystem::kUnknown;
  std::string device;  // "vdb", "sdb1", "dm-3"; empty where the message names none
  Failure failure = Failure::kNone;
  bool follows = false;  // a failure that only sums up one that was said before
  std::string uuid;
  std::vector<std::string> options;
  std::optional<uint64_t> size_bytes;
  std::string slot;  // "virtio4", "2:0:0:0", "0000:00:07.0"
  uint64_t count = 0;
};

// Nothing for a message that says nothing of the kind.
std::optional<StorageLine> ParseStorageLine(std::string_view text);

// The disk that a partition is on: "vdb" of "vdb1", "nvme0n1" of "nvme0n1p2"; others as they are.
std::string DiskOf(const std::string& device);

}  // namespace plugpull::incident
