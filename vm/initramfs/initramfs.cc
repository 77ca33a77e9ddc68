// SPDX-License-Identifier: Apache-2.0
// An archive's name in the cache is the fingerprint of all that goes into it and, behind a dash,
// of the archive itself, so a damaged one is seen.
#include "vm/initramfs/initramfs.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <set>

#include "framework/image/fingerprint.h"
#include "framework/os/file.h"
#include "vm/initramfs/cpio.h"
#include "vm/initramfs/modules.h"
#include "vm/initramfs/programs.h"

namespace plugpull::vm {
namespace {

namespace fs = std::filesystem;

constexpr int kLayoutVersion = 1;  // part of the fingerprint: raise it when the layout changes
constexpr size_t kKeptMax = 8;
constexpr auto kYoung = std::chrono::minutes(10);  // may just be on its way to a QEMU
constexpr Millis kLockWaitMax{120'000};
constexpr Bytes kHostFileBytesMax(1ull << 30);
constexpr Bytes kModuleListBytesMax(16 << 20);
constexpr size_t kFilesMax = 4096;
constexpr char kSuffix[] = ".cpio";

// Without these a guest is of no use.
constexpr const char* kRequiredPrograms[] = {"bash",    "mount",   "umount",    "blkid",
                                             "mke2fs",  "e2fsck",  "mkfs.ext4", "debugfs",
                                             "dmsetup", "dumpe2fs"};
// For `plugpull shell`, and for commands in scenarios.
constexpr const char* kOptionalPrograms[] = {
    "basename", "cat",      "chmod",    "cmp",      "cp",      "cut",        "date", "dd",
    "df",       "dirname",  "dmesg",    "du",       "echo",    "env",        "expr", "false",
    "find",     "fsfreeze", "grep",     "head",     "hexdump", "id",         "kill", "ln",
    "ls",       "md5sum",   "mkdir",    "mkfifo",   "mktemp",  "mountpoint", "mv",   "od",
    "printf",   "pwd",      "readlink", "rm",       "rmdir",   "sed",        "seq",  "sha256sum",
    "sleep",    "sort",     "stat",     "sync",     "tail",    "tee",        "test", "timeout",
    "touch",    "tr",       "true",     "truncate", "tune2fs", "uname",      "uniq", "wc",
    "xxd"};

// mke2fs's defaults as Debian 12 ships them with e2fsprogs 1.47 (debian/mke2fs.conf there).
constexpr char kMke2fsConf[] =
    "[defaults]\n"
    "base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr\n"
    "default_mntopts = acl,user_xattr\n"
    "enable_periodic_fsck = 0\n"
    "blocksize = 4096\n"
    "inode_size = 256\n"
    "inode_ratio = 16384\n"
    "[fs_types]\n"
    "ext3 = {\nfeatures = has_journal\n}\n"
    "ext4 = {\n"
    "features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize\n"
    "}\n"
    "small = {\nblocksize = 1024\ninode_ratio = 4096\n}\n"
    "floppy = {\nblocksize = 1024\ninode_ratio = 8192\n}\n"
    "big = {\ninode_ratio = 32768\n}\n"
    "huge = {\ninode_ratio = 65536\n}\n";

// Folders that are one with their twins in /usr, as on every current distribution.
constexpr std::string_view kMergedFolders[] = {"bin", "sbin", "lib", "lib64", "lib32"};

// "/bin/sh" is "/usr/bin/sh" in the guest; all else stays.
std::string InGuest(const std::string& path) {
  const std::string normal = fs::path(path).lexically_normal().string();
  for (const auto folder : kMergedFolders) {
    if (normal.starts_with(fmt::format("/{}/", folder))) return "/usr" + normal;
  }
  return normal;
}

constexpr char kShellPath[] = "/usr/bin/sh";

// What the guest's PID 1 mounts over: a file there would never be seen.
constexpr std::string_view kCoveredFolders[] = {"/dev/", "/proc/", "/run/", "/sys/", "/tmp/"};

// A file of the guest before it is read.
struct Source {
  std::string host_path;  // empty: `text`
  std::string text;
  uint32_t mode = 0644;
  bool is_module = false;
};

// All that goes into an archive, by path in the guest: the order of the archive.
class Contents {
 public:
  // The first one to claim a path gets it. bash answers to /bin/sh, whatever the host has there.
  void Add(const std::string& guest_path, Source source) {
    const std::string path = InGuest(guest_path);
    if (path != kShellPath) sources_.try_emplace(path, std::move(source));
  }

  Status AddProgram(const std::string& host_path, const std::string& guest_path) {
    Add(guest_path, {host_path, {}, 0755});
    PP_ASSIGN_OR_RETURN(const auto required, RequiredFiles(host_path));
    for (const auto& path : required) Add(path, {path, {}, 0755});
    return OkStatus();
  }

  Result<std::string> InputFingerprint() const {
    image::FingerprintStream stream;
    const auto add = [&](std::string_view text) {
      stream.AddNumber(text.size());
      stream.Add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    };
    stream.AddNumber(kLayoutVersion);
    for (const auto& [guest_path, source] : sources_) {
      add(guest_path);
      stream.AddNumber(source.mode);
      if (source.host_path.empty()) {
        add(source.text);
      } else {
        PP_ASSIGN_OR_RETURN(const auto file, os::MappedFile::Open(source.host_path));
        stream.AddNumber(file.bytes().size());
        stream.Add(file.bytes());
      }
    }
    return stream.Finish().ToHex();
  }

  Result<std::string> Archive() const {
    CpioWriter writer;
    for (const auto folder : kMergedFolders) {
      writer.AddFolder(fmt::format("/usr/{}", folder));
      writer.AddSymlink(fmt::format("/{}", folder), fmt::format("usr/{}", folder));
    }
    for (const char* folder : {"/dev", "/mnt", "/proc", "/run", "/sys", "/var"}) {
      writer.AddFolder(folder);
    }
    writer.AddFolder("/root", 0700);
    writer.AddFolder("/tmp", 01777);
    // The kernel opens it for /init before anything is mounted.
    writer.AddCharDevice("/dev/console", 5, 1, 0600);
    writer.AddSymlink("/etc/mtab", "/proc/self/mounts");
    writer.AddSymlink(kShellPath, "bash");
    for (const auto& [guest_path, source] : sources_) {
      if (writer.Has(guest_path)) {
        return UserError(
            fmt::format("{} cannot be a file of the guest: it is there already", guest_path));
      }
      if (source.host_path.empty()) {
        writer.AddFile(guest_path, source.text, source.mode);
        continue;
      }
      PP_ASSIGN_OR_RETURN(const std::string content,
                          source.is_module ? ReadModule(source.host_path)
                                           : os::ReadFile(source.host_path, kHostFileBytesMax));
      writer.AddFile(guest_path, content, source.mode);
    }
    return writer.Finish();
  }

  // A user error when the guest could not have all of it.
  Status Validate() const {
    if (sources_.size() > kFilesMax) {
      return UserError(fmt::format("the guest would get {} files; at most {} are possible",
                                   sources_.size(), kFilesMax));
    }
    for (const auto& [guest_path, source] : sources_) {
      for (const auto folder : kCoveredFolders) {
        if (!guest_path.starts_with(folder)) continue;
        return UserError(fmt::format(
            "the guest cannot get {}: it mounts a file system of its own at {}; move the file to "
            "another folder",
            guest_path, folder.substr(0, folder.size() - 1)));
      }
    }
    return OkStatus();
  }

 private:
  std::map<std::string, Source> sources_;
};

Result<std::string> OwnFolder(const InitramfsOptions& options) {
  if (!options.guest_folder.empty()) return options.guest_folder;
  return GuestProgramsFolder();
}

Status AddGuestPrograms(const InitramfsOptions& options, Contents& contents) {
  PP_ASSIGN_OR_RETURN(const std::string folder, OwnFolder(options));
  const std::pair<const char*, const char*> programs[] = {
      {"plugpull-guest", "/init"}, {"plugpull-mark", "/usr/bin/plugpull-mark"}};
  for (const auto& [name, guest_path] : programs) {
    const std::string path = folder + "/" + name;
    if (!os::Exists(path)) {
      return EnvironmentError(fmt::format(
          "{} is missing: build it, or set PLUGPULL_GUEST_DIR to the folder that has it", path));
    }
    PP_RETURN_IF_ERROR(contents.AddProgram(path, guest_path));
  }
  return OkStatus();
}

Status AddHostPrograms(const InitramfsOptions& options, Contents& contents) {
  PP_ASSIGN_OR_RETURN(const std::string own_folder, OwnFolder(options));
  for (const auto& name : options.programs) {
    // Agents and other programs of plugpull's own, which are on nobody's PATH.
    const std::string own = own_folder + "/" + name;
    if (name.starts_with("plugpull-") && os::Exists(own)) {
      PP_RETURN_IF_ERROR(contents.AddProgram(own, "/usr/bin/" + name));
      continue;
    }
    auto path = LocateProgram(name);
    if (!path.ok() && name.starts_with("plugpull-")) {
      return UserError(
          fmt::format("this build has no {}: {} is not there; it is built once the "
                      "packages that it needs are (packages/debian.txt)",
                      name, own));
    }
    if (!path.ok()) return path.error();
    PP_RETURN_IF_ERROR(contents.AddProgram(*path, *path));
  }
  for (const char* name : kRequiredPrograms) {
    auto path = LocateProgram(name);
    if (!path.ok()) {
      return EnvironmentError(fmt::format(
          "this machine has no {}, which the guest needs (./plugpull installs it)", name));
    }
    PP_RETURN_IF_ERROR(contents.AddProgram(*path, *path));
    if (std::string_view(name) == "bash") {
      PP_RETURN_IF_ERROR(contents.AddProgram(*path, "/bin/bash"));
    }
  }
  for (const char* name : kOptionalPrograms) {
    const auto path = LocateProgram(name);
    if (path.ok()) PP_RETURN_IF_ERROR(contents.AddProgram(*path, *path));
  }
  return OkStatus();
}

Status AddModules(const InitramfsOptions& options, Contents& contents) {
  const std::string& folder = options.kernel.modules;
  PP_ASSIGN_OR_RETURN(const std::string depends,
                      os::ReadFile(folder + "/modules.dep", kModuleListBytesMax));
  std::string builtin;  // some packages do not have the file
  if (os::Exists(folder + "/modules.builtin")) {
    PP_ASSIGN_OR_RETURN(builtin, os::ReadFile(folder + "/modules.builtin", kModuleListBytesMax));
  }
  PP_ASSIGN_OR_RETURN(const ModuleIndex index, ParseModuleIndex(depends, builtin));
  PP_ASSIGN_OR_RETURN(const auto paths, ResolveModules(index, options.modules));
  std::string list;
  for (const auto& path : paths) {
    const std::string guest_path = fmt::format("/usr/lib/modules/{}/{}", options.kernel.release,
                                               path.substr(0, path.rfind(".ko") + 3));
    contents.Add(guest_path, {folder + "/" + path, {}, 0644, true});
    list += guest_path + "\n";
  }
  contents.Add("/etc/plugpull/modules", {{}, list});
  return OkStatus();
}

Status AddFiles(const InitramfsOptions& options, Contents& contents) {
  for (const auto& [guest_path, host_path] : options.files) {
    std::error_code error;
    const auto permissions = fs::status(host_path, error).permissions();
    if (error || !fs::is_regular_file(host_path, error)) {
      return UserError(fmt::format("{} is not a regular file; the guest was to get it at {}",
                                   host_path, guest_path));
    }
    const bool runs = (permissions & fs::perms::owner_exec) != fs::perms::none;
    contents.Add(guest_path, {host_path, {}, runs ? 0755u : 0644u});
  }
  for (const auto& [guest_path, text] : options.texts) contents.Add(guest_path, {{}, text});
  contents.Add("/etc/mke2fs.conf", {{}, kMke2fsConf});
  contents.Add("/etc/passwd", {{}, "root:x:0:0:root:/root:/bin/bash\n"});
  contents.Add("/etc/group", {{}, "root:x:0:\n"});
  return OkStatus();
}

std::string FingerprintOfText(std::string_view text) {
  return image::FingerprintOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()}).ToHex();
}

// The archive of these inputs, when it is there and whole. A damaged one is removed.
Result<std::optional<std::string>> FindCached(const std::string& folder, const std::string& input) {
  PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(folder));
  for (const auto& name : names) {
    if (!name.starts_with(input + "-") || !name.ends_with(kSuffix)) continue;
    const std::string path = folder + "/" + name;
    const auto file = os::MappedFile::Open(path);
    const size_t start = input.size() + 1;
    if (file.ok() && image::FingerprintOf(file->bytes()).ToHex() ==
                         name.substr(start, name.size() - start - std::size(kSuffix) + 1)) {
      std::error_code ignored;
      fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
      return std::optional<std::string>(path);
    }
    spdlog::warn("the initramfs {} in the cache is damaged and is made again", path);
    PP_RETURN_IF_ERROR(os::RemoveAll(path));
  }
  return std::optional<std::string>();
}

// Keeps the newest archives and the young ones, and removes what killed writers have left. The
// lock is held, so nobody writes.
Status Sweep(const std::string& folder) {
  PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(folder));
  std::vector<std::pair<fs::file_time_type, std::string>> archives;
  for (const auto& name : names) {
    const std::string path = folder + "/" + name;
    if (name.starts_with('.')) continue;  // the lock
    std::error_code error;
    const auto time = fs::last_write_time(path, error);
    if (name.ends_with(kSuffix)) {
      if (!error) archives.emplace_back(time, path);
    } else {
      PP_RETURN_IF_ERROR(os::RemoveAll(path));
    }
  }
  std::sort(archives.rbegin(), archives.rend());
  const auto young = fs::file_time_type::clock::now() - kYoung;
  for (size_t i = kKeptMax; i < archives.size(); ++i) {
    if (archives[i].first < young) PP_RETURN_IF_ERROR(os::RemoveAll(archives[i].second));
  }
  return OkStatus();
}

}  // namespace

const std::vector<std::string>& DefaultModules() {
  static const std::vector<std::string> modules = {
      "virtio_pci", "virtio_blk",  "virtio_console", "dm-mod",         "dm-log-writes", "dm-flakey",
      "dm-delay",   "dm-snapshot", "dm-zero",        "crc32c_generic", "libcrc32c",     "jbd2",
      "ext4"};
  return modules;
}

Result<std::string> GuestProgramsFolder() {
  const std::string folder = os::GetEnv("PLUGPULL_GUEST_DIR", "");
  if (!folder.empty()) return folder;
  std::error_code error;
  const auto self = fs::read_symlink("/proc/self/exe", error);
  if (error) return EnvironmentError("cannot read /proc/self/exe: " + error.message());
  return self.parent_path().string();
}

Result<std::string> BuildInitramfs(const InitramfsOptions& options) {
  Contents contents;
  PP_RETURN_IF_ERROR(AddGuestPrograms(options, contents));
  PP_RETURN_IF_ERROR(AddFiles(options, contents));
  PP_RETURN_IF_ERROR(AddModules(options, contents));
  PP_RETURN_IF_ERROR(AddHostPrograms(options, contents));
  PP_RETURN_IF_ERROR(contents.Validate());
  PP_ASSIGN_OR_RETURN(const std::string input, contents.InputFingerprint());
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  const std::string folder = cache + "/initramfs";
  PP_RETURN_IF_ERROR(os::MakeFolders(folder));
  PP_ASSIGN_OR_RETURN(const os::Fd lock,
                      os::LockFile(folder + "/.lock", os::Deadline::After(kLockWaitMax)));
  PP_ASSIGN_OR_RETURN(const auto cached, FindCached(folder, input));
  if (cached) return *cached;
  PP_ASSIGN_OR_RETURN(const std::string archive, contents.Archive());
  const std::string path =
      fmt::format("{}/{}-{}{}", folder, input, FingerprintOfText(archive), kSuffix);
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(path, archive));
  PP_RETURN_IF_ERROR(Sweep(folder));
  return path;
}

}  // namespace plugpull::vm
