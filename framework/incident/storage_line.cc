// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/storage_line.h"

#include <algorithm>
#include <array>

#include "framework/incident/scan.h"

namespace plugpull::incident {
namespace {

constexpr size_t kDeviceNameMax = 31;  // BDEVNAME_SIZE - 1
constexpr size_t kUuidLength = 36;

bool IsDeviceName(std::string_view name) {
  return !name.empty() && name.size() <= kDeviceNameMax && IsLetter(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return IsLetter(c) || IsDigit(c) || c == '-' || c == '_' || c == '!' || c == '.';
         });
}

// A UUID at the start of the text; empty when there is none.
std::string UuidAt(std::string_view text) {
  if (text.size() < kUuidLength) return "";
  for (size_t i = 0; i < kUuidLength; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    if (dash ? c != '-' : !(IsDigit(c) || (c >= 'a' && c <= 'f'))) return "";
  }
  return std::string(text.substr(0, kUuidLength));
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

StorageLine Of(LineKind kind, FileSystem fs = FileSystem::kUnknown) {
  StorageLine line;
  line.kind = kind;
  line.fs = fs;
  return line;
}

StorageLine Failed(FileSystem fs, Failure failure, bool follows = false) {
  StorageLine line = Of(LineKind::kMountFailed, fs);
  line.failure = failure;
  line.follows = follows;
  return line;
}

void AddOption(StorageLine& line, std::string_view option) {
  const bool plain = std::all_of(option.begin(), option.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || std::string_view("=_-./:").find(c) != std::string::npos;
  });
  if (option.empty() || option.size() > kOptionBytesMax || !plain || option == "null") return;
  const bool there = std::count(line.options.begin(), line.options.end(), option) > 0;
  if (!there && line.options.size() < kOptionsMax) line.options.emplace_back(option);
}

// "Opts: data=writeback,nobarrier." and what may follow.
void AddListedOptions(StorageLine& line, std::string_view text) {
  constexpr std::string_view kOpts = "Opts: ";
  const size_t at = text.find(kOpts);
  if (at == std::string_view::npos) return;
  text.remove_prefix(at + kOpts.size());
  text = text.substr(0, std::min(text.find(". Quota"), text.find(' ')));
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    AddOption(line, text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
}

// "mounted filesystem [UUID] [r/w] with ordered data mode. Opts: (null)".
StorageLine Ext4Mounted(std::string_view text) {
  StorageLine line = Of(LineKind::kMounted, FileSystem::kExt4);
  Scan scan(text);
  scan.Take("mounted filesystem ");
  line.uuid = UuidAt(scan.rest());
  if (!line.uuid.empty()) {
    scan = Scan(scan.rest().substr(kUuidLength));
    scan.Take(" ");
  }
  if (scan.Take("ro ")) AddOption(line, "ro");
  scan.Take("r/w ");
  if (scan.Take("with ")) {
    const std::string_view mode = scan.TakeWord();
    for (const std::string_view known : {"ordered", "writeback", "journalled"}) {
      if (mode != known) continue;
      AddOption(line, known == "journalled" ? "data=journal" : "data=" + std::string(known));
    }
  }
  AddListedOptions(line, scan.rest());
  return line;
}

struct FailureText {
  std::string_view text;
  Failure failure;
  bool follows = false;
};

// fs/ext4/super.c; compared without regard to case, which has changed over the years.
constexpr FailureText kExt4Failures[] = {
    {"vfs: can't find", Failure::kNotRecognised},
    {"vfs: found ext4 filesystem with invalid superblock checksum", Failure::kChecksum},
    {"vfs: found ext4 filesystem with unknown checksum", Failure::kFeatures},
    {"couldn't mount because of unsupported optional features", Failure::kFeatures},
    {"couldn't mount rdwr because of", Failure::kFeatures},
    {"bad geometry:", Failure::kGeometry},
    {"invalid log block size", Failure::kGeometry},
    {"invalid log cluster size", Failure::kGeometry},
    {"invalid inodes per group", Failure::kGeometry},
    {"#blocks per group too big", Failure::kGeometry},
    {"#clusters per group too big", Failure::kGeometry},
    {"unsupported inode size", Failure::kGeometry},
    {"unsupported filesystem blocksize", Failure::kGeometry},
    {"bad block size", Failure::kGeometry},
    {"number of reserved gdt blocks insanely large", Failure::kGeometry},
    {"filesystem too large to mount safely", Failure::kGeometry},
    {"groups count too large", Failure::kGeometry},
    {"first meta block group too large", Failure::kGeometry},
    {"group descriptors corrupted", Failure::kDescriptors},
    {"can't read group descriptor", Failure::kReadError},
    {"get root inode failed", Failure::kRootInode},
    {"get root dentry failed", Failure::kRootInode, true},
    {"corrupt root inode", Failure::kRootInode},
    {"no journal found", Failure::kJournal},
    {"journal inode is deleted", Failure::kJournal},
    {"required journal recovery suppressed", Failure::kJournal},
    {"write access unavailable, cannot proceed", Failure::kJournal},
    {"error loading journal", Failure::kJournal, true},
    {"could not load journal inode", Failure::kJournal, true},
    {"unable to read superblock", Failure::kReadError},
    {"can't read superblock", Failure::kReadError},
    {"unrecognized mount option", Failure::kOptions},
    {"can't mount with ", Failure::kOptions},
    {"failed to parse options", Failure::kOptions},
    {"device is already active on another node", Failure::kOther},
    {"mount failed", Failure::kOther, true},
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

// Behind "EXT4-fs (vdb): ".
std::optional<StorageLine> ParseExt4(std::string_view text) {
  if (text.starts_with("mounted filesystem")) return Ext4Mounted(text);
  if (text == "barriers disabled") {
    StorageLine line = Of(LineKind::kOption, FileSystem::kExt4);
    AddOption(line, "nobarrier");
    return line;
  }
  if (text.starts_with("re-mounted")) {
    StorageLine line = Of(LineKind::kRemounted, FileSystem::kExt4);
    AddListedOptions(line, text);
    return line;
  }
  if (text.starts_with("unmounting filesystem")) {
    return Of(LineKind::kUnmounted, FileSystem::kExt4);
  }
  const std::string lower = Lower(text.substr(0, 80));
  for (const FailureText& one : kExt4Failures) {
    if (lower.starts_with(one.text)) return Failed(FileSystem::kExt4, one.failure, one.follows);
  }
  if (text.starts_with("recovery complete")) return Of(LineKind::kRecovered, FileSystem::kExt4);
  if (text.starts_with("orphan cleanup") || Contains(text, "orphan inode") ||
      Contains(text, "cleaned up")) {
    return Of(LineKind::kOrphans, FileSystem::kExt4);
  }
  if (Contains(lower, "remounting filesystem read-only") ||
      Contains(lower, "forcing read-only mode")) {
    return Of(LineKind::kReadOnly, FileSystem::kExt4);
  }
  if (text.starts_with("I/O error while writing superblock") ||
      text.starts_with("previous I/O error to superblock")) {
    return Of(LineKind::kIoError, FileSystem::kExt4);
  }
  if (text.starts_with("Delayed block allocation failed")) {
    return Of(LineKind::kFileSystemError, FileSystem::kExt4);
  }
  return std::nullopt;
}

// Behind "XFS (vdb): ".
std::optional<StorageLine> ParseXfs(std::string_view text) {
  constexpr auto kFs = FileSystem::kXfs;
  if (text.starts_with("Mounting V")) {
    if (Contains(text, "no-recovery mode")) return Of(LineKind::kMounted, kFs);
    StorageLine line = Of(LineKind::kMountBegins, kFs);
    line.uuid = UuidAt(text.substr(text.find_last_of(' ') + 1));
    return line;
  }
  if (text.starts_with("Ending clean mount") || text.starts_with("Ending recovery")) {
    return Of(LineKind::kMounted, kFs);
  }
  if (text.starts_with("Starting recovery")) return Of(LineKind::kRecovered, kFs);
  if (text.starts_with("Unmounting Filesystem")) return Of(LineKind::kUnmounted, kFs);
  if (text.starts_with("Invalid superblock magic number")) {
    return Failed(kFs, Failure::kNotRecognised);
  }
  if (text.starts_with("SB validate failed")) return Failed(kFs, Failure::kChecksum, true);
  if (text.starts_with("Superblock has unknown") || Contains(text, "features that can not")) {
    return Failed(kFs, Failure::kFeatures);
  }
  if (text.starts_with("Filesystem has duplicate UUID")) return Failed(kFs, Failure::kOther);
  if (text.starts_with("log mount") || text.starts_with("failed to locate log tail")) {
    return Failed(kFs, Failure::kJournal, !text.starts_with("log mount/recovery"));
  }
  if (Lower(text.substr(0, 40)).starts_with("failed to read root inode")) {
    return Failed(kFs, Failure::kRootInode);
  }
  if (text.starts_with("log I/O error") || Contains(text, "shut down due to log error")) {
    return Of(LineKind::kJournalError, kFs);
  }
  if (text.starts_with("metadata I/O error")) return Of(LineKind::kIoError, kFs);
  if (text.starts_with("Metadata corruption detected") ||
      text.starts_with("Metadata CRC error detected") || text.starts_with("Corruption ") ||
      Contains(text, "has been shut down")) {
    return Of(LineKind::kFileSystemError, kFs);
  }
  return std::nullopt;
}

// Behind "BTRFS info (device vdb): ".
std::optional<StorageLine> ParseBtrfs(std::string_view level, std::string_view text) {
  constexpr auto kFs = FileSystem::kBtrfs;
  constexpr std::string_view kFirstMount = "first mount of filesystem ";
  if (text.starts_with(kFirstMount)) {
    StorageLine line = Of(LineKind::kMounted, kFs);
    line.uuid = UuidAt(text.substr(kFirstMount.size()));
    return line;
  }
  if (text.starts_with("last unmount of filesystem")) return Of(LineKind::kUnmounted, kFs);
  if (text.starts_with("turning off barriers")) {
    StorageLine line = Of(LineKind::kOption, kFs);
    AddOption(line, "nobarrier");
    return line;
  }
  if (text.starts_with("superblock checksum mismatch")) return Failed(kFs, Failure::kChecksum);
  if (text.starts_with("open_ctree failed")) return Failed(kFs, Failure::kOther, true);
  if (text.starts_with("forced readonly")) return Of(LineKind::kReadOnly, kFs);
  if (text.starts_with("bdev ") && Contains(text, "errs:")) return Of(LineKind::kIoError, kFs);
  if (level == "error" || level == "critical") return Of(LineKind::kFileSystemError, kFs);
  return std::nullopt;
}

// "NAME (vdb): rest" and "NAME level (device vdb state EA): rest".
struct FsPrefix {
  std::string_view level;
  std::string_view device;
  std::string_view text;
};
std::optional<FsPrefix> TakeFsPrefix(std::string_view text, std::string_view name) {
  Scan scan(text);
  if (!scan.Take(name)) return std::nullopt;
  scan.Take(":");
  if (!scan.Take(" ")) return std::nullopt;
  FsPrefix prefix;
  if (scan.Peek() != '(') prefix.level = scan.TakeWord();
  if (!scan.Take("(")) return std::nullopt;
  scan.Take("device ");
  const size_t close = scan.rest().find(')');
  if (close == std::string_view::npos || close > 64) return std::nullopt;
  prefix.device = scan.rest().substr(0, close);
  prefix.device = prefix.device.substr(0, prefix.device.find_first_of(" :"));
  scan = Scan(scan.rest().substr(close + 1));
  scan.Take(":");
  scan.Take(" ");
  prefix.text = scan.rest();
  if (!IsDeviceName(prefix.device)) return std::nullopt;
  return prefix;
}

std::optional<StorageLine> ParseFileSystem(std::string_view text) {
  std::optional<StorageLine> line;
  std::optional<FsPrefix> prefix;
  if ((prefix = TakeFsPrefix(text, "EXT4-fs"))) {
    if (prefix->level == "error") {
      const bool journal = Contains(prefix->text, "journal");
      line = Of(journal ? LineKind::kJournalError : LineKind::kFileSystemError, FileSystem::kExt4);
    } else if (prefix->level.empty()) {
      line = ParseExt4(prefix->text);
    }
  } else if ((prefix = TakeFsPrefix(text, "XFS"))) {
    line = ParseXfs(prefix->text);
  } else if ((prefix = TakeFsPrefix(text, "BTRFS"))) {
    line = ParseBtrfs(prefix->level, prefix->text);
  }
  if (line) line->device = prefix->device;
  return line;
}

// "Aborting journal on device vda-8.", "JBD2: Detected IO errors while flushing file data on
// vda-8".
std::optional<StorageLine> ParseJournal(std::string_view text) {
  const bool aborts = text.starts_with("Aborting journal on device ");
  if (!aborts && !(text.starts_with("JBD2: ") && Contains(text, "rror"))) return std::nullopt;
  while (text.ends_with('.')) text.remove_suffix(1);
  std::string_view device = text.substr(text.find_last_of(' ') + 1);
  const size_t dash = device.rfind('-');  // behind it, the journal's inode
  if (dash == std::string_view::npos) return std::nullopt;
  Scan inode(device.substr(dash + 1));
  if (!inode.TakeNumber(1, 10) || !inode.empty()) return std::nullopt;
  device = device.substr(0, dash);
  if (!IsDeviceName(device)) return std::nullopt;
  StorageLine line = Of(LineKind::kJournalError, FileSystem::kExt4);
  line.device = device;
  return line;
}

// "[vdb] 104857600 512-byte logical blocks (53.7 GB/50.0 GiB)" into device and size.
bool TakeCapacity(Scan& scan, StorageLine& line) {
  if (!scan.Take("[")) return false;
  const size_t close = scan.rest().find(']');
  if (close == std::string_view::npos || !IsDeviceName(scan.rest().substr(0, close))) return false;
  line.device = scan.rest().substr(0, close);
  scan = Scan(scan.rest().substr(close + 1));
  scan.Take(" ");
  if (!Contains(scan.rest(), "-byte logical blocks")) return false;
  if (scan.rest().starts_with("new size:")) return false;  // a disk that grew
  const auto blocks = scan.TakeNumber(1, 15);
  const auto block_bytes = blocks && scan.Take(" ") ? scan.TakeNumber(3, 5) : std::nullopt;
  if (blocks && block_bytes && *blocks < (int64_t{1} << 45)) {
    line.size_bytes = static_cast<uint64_t>(*blocks) * static_cast<uint64_t>(*block_bytes);
  }
  return true;
}

std::optional<StorageLine> ParseVirtio(std::string_view text) {
  Scan scan(text);
  if (scan.Take("virtio_blk ")) {
    StorageLine line = Of(LineKind::kAttached);
    const size_t colon = scan.rest().find(": ");
    if (colon == std::string_view::npos || !IsDeviceName(scan.rest().substr(0, colon))) return {};
    line.slot = scan.rest().substr(0, colon);
    scan = Scan(scan.rest().substr(colon + 2));
    if (!TakeCapacity(scan, line)) return std::nullopt;
    return line;
  }
  if (!scan.Take("virtio-pci ")) return std::nullopt;
  const size_t colon = scan.rest().find(": ");
  if (colon == std::string_view::npos || colon > 16) return std::nullopt;
  // ACPI_NOTIFY_EJECT_REQUEST of include/acpi/actypes.h
  const bool eject = Contains(scan.rest(), "ACPI event 0x3 received");
  StorageLine line = Of(eject ? LineKind::kDetached : LineKind::kBusAddress);
  line.slot = scan.rest().substr(0, colon);
  return line;
}

std::optional<StorageLine> ParseScsi(std::string_view text) {
  Scan scan(text);
  if (!scan.Take("sd ")) return std::nullopt;
  const size_t colon = scan.rest().find(": ");
  if (colon == std::string_view::npos || colon > 20) return std::nullopt;
  StorageLine line = Of(LineKind::kSize);
  line.slot = scan.rest().substr(0, colon);
  scan = Scan(scan.rest().substr(colon + 2));
  Scan capacity = scan;
  if (TakeCapacity(capacity, line)) return line;
  if (line.device.empty() || !scan.Take("[" + line.device + "] ")) return std::nullopt;
  if (scan.rest().starts_with("Attached SCSI ")) {
    line.kind = LineKind::kAttached;
  } else if (scan.rest().starts_with("Synchronizing SCSI cache")) {
    line.kind = LineKind::kDetached;
  } else {
    return std::nullopt;
  }
  return line;
}

// NVMe disks have no line of their own; that of the controller stands for its first namespace.
std::optional<StorageLine> ParseOtherDisks(std::string_view text) {
  Scan scan(text);
  if (scan.Take("nvme nvme")) {
    const auto number = scan.TakeNumber(1, 4);
    if (!number || !scan.Take(": pci function ")) return std::nullopt;
    StorageLine line = Of(LineKind::kAttached);
    line.device = "nvme" + std::to_string(*number) + "n1";
    line.slot = scan.rest().substr(0, std::min<size_t>(scan.rest().size(), 16));
    return line;
  }
  if (scan.Take("blkfront: ")) {
    const std::string_view name = scan.rest().substr(0, scan.rest().find(':'));
    if (!IsDeviceName(name)) return std::nullopt;
    StorageLine line = Of(LineKind::kAttached);
    line.device = name;
    return line;
  }
  scan.TakeSpaces();
  constexpr std::string_view kCapacity = ": detected capacity change from ";
  const size_t at = scan.rest().find(kCapacity);
  if (at == std::string_view::npos || !IsDeviceName(scan.rest().substr(0, at))) return {};
  const std::string_view name = scan.rest().substr(0, at);
  scan = Scan(scan.rest().substr(at + kCapacity.size()));
  const auto from = scan.TakeNumber(1, 18);
  const auto to = scan.Take(" to ") ? scan.TakeNumber(1, 18) : std::nullopt;
  // Other disks say more of their coming than this.
  const bool says_nothing_else = name.starts_with("loop") || name.starts_with("nbd");
  if (!from || !to || (*to != 0 && !(*from == 0 && says_nothing_else))) return std::nullopt;
  StorageLine line = Of(*to == 0 ? LineKind::kDetached : LineKind::kAttached);
  line.device = name;
  return line;
}

std::optional<StorageLine> ParseBlockError(std::string_view text) {
  for (const std::string_view before :
       {" error, dev ", "I/O error on dev ", "I/O error on device ", "due to I/O error on "}) {
    const size_t at = text.find(before);
    if (at == std::string_view::npos) continue;
    std::string_view name = text.substr(at + before.size());
    name = name.substr(0, name.find_first_of(" ,"));
    if (!IsDeviceName(name)) continue;
    StorageLine line = Of(LineKind::kIoError);
    line.device = name;
    return line;
  }
  return std::nullopt;
}

// "EXT4-fs mount: 25 callbacks suppressed".
std::optional<StorageLine> ParseSuppressed(std::string_view text) {
  if (!text.ends_with(" callbacks suppressed")) return std::nullopt;
  StorageLine line = Of(LineKind::kSuppressed);
  const std::string lower = Lower(text.substr(0, 40));
  if (Contains(lower, "ext4")) line.fs = FileSystem::kExt4;
  if (Contains(lower, "xfs")) line.fs = FileSystem::kXfs;
  if (Contains(lower, "btrfs")) line.fs = FileSystem::kBtrfs;
  if (line.fs == FileSystem::kUnknown) return std::nullopt;
  Scan scan(text.substr(std::min(text.find(": ") + 2, text.size())));
  line.count = static_cast<uint64_t>(scan.TakeNumber(1, 12).value_or(1));
  return line;
}

}  // namespace

const char* FileSystemName(FileSystem fs) {
  switch (fs) {
    case FileSystem::kExt4:
      return "ext4";
    case FileSystem::kXfs:
      return "xfs";
    case FileSystem::kBtrfs:
      return "btrfs";
    case FileSystem::kUnknown:
      break;
  }
  return "";
}

const char* FailureWords(Failure failure) {
  constexpr std::array<const char*, kFailures> kWords = {"none",
                                                         "not recognised",
                                                         "superblock checksum",
                                                         "unsupported features",
                                                         "bad geometry",
                                                         "group descriptors",
                                                         "root inode",
                                                         "journal",
                                                         "read error",
                                                         "mount options",
                                                         "other"};
  return kWords[static_cast<size_t>(failure)];
}

std::optional<StorageLine> ParseStorageLine(std::string_view text) {
  if (auto line = ParseFileSystem(text)) return line;
  if (auto line = ParseVirtio(text)) return line;
  if (auto line = ParseScsi(text)) return line;
  if (auto line = ParseJournal(text)) return line;
  if (auto line = ParseSuppressed(text)) return line;
  if (auto line = ParseBlockError(text)) return line;
  return ParseOtherDisks(text);
}

std::string DiskOf(const std::string& device) {
  const size_t digits = device.find_last_not_of("0123456789") + 1;
  if (digits == device.size() || digits == 0) return device;
  for (const std::string_view letters : {"vd", "sd", "hd", "xvd"}) {
    const bool named = device.starts_with(letters) && digits > letters.size();
    if (named &&
        std::all_of(device.begin(), device.begin() + static_cast<long>(digits), IsLetter)) {
      return device.substr(0, digits);
    }
  }
  // Names that end in a digit part their partitions by a "p".
  const bool parted = device[digits - 1] == 'p' && digits >= 2 && IsDigit(device[digits - 2]);
  return parted ? device.substr(0, digits - 1) : device;
}

}  // namespace plugpull::incident
