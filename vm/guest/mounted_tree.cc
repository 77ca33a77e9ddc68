// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/mounted_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

namespace plugpull::guest {
namespace {

constexpr size_t kNamesPerFolderMax = 1'000'000;
constexpr mode_t kPermissionBits = 07777;

Error Failed(const char* what) {
  return EnvironmentError(fmt::format("{}: {}", what, os::ErrnoText(errno)));
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

}  // namespace

Result<TreeEntry> MountedTree::Look(const std::string& path) {
  struct stat status {};
  if (::lstat(PathOf(path).c_str(), &status) != 0) return Failed("lstat");
  TreeEntry entry;
  if (S_ISREG(status.st_mode)) {
    entry.set_kind(TreeEntry::FILE);
    entry.set_links(static_cast<uint32_t>(status.st_nlink));
    entry.set_size_bytes(static_cast<uint64_t>(status.st_size));
  } else if (S_ISDIR(status.st_mode)) {
    entry.set_kind(TreeEntry::FOLDER);
  } else if (S_ISLNK(status.st_mode)) {
    entry.set_kind(TreeEntry::SYMLINK);
  }
  entry.set_mode(status.st_mode & kPermissionBits);
  entry.set_owner(status.st_uid);
  entry.set_group(status.st_gid);
  return entry;
}

Result<std::vector<std::string>> MountedTree::List(const std::string& path) {
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir(PathOf(path).c_str()));
  if (!folder) return Failed("opendir");
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (names.size() >= kNamesPerFolderMax) {
      return EnvironmentError(fmt::format("more than {} names", kNamesPerFolderMax));
    }
    names.push_back(name);
  }
  if (errno != 0) return Failed("readdir");
  return names;
}

Status MountedTree::Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) {
  if (!open_file_.valid() || open_path_ != path) {
    open_file_ = os::Fd(
        ::open(PathOf(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOATIME));
    open_path_ = path;
    if (!open_file_.valid()) return Failed("open");
  }
  return os::PreadAll(open_file_.get(), out, Bytes(offset));
}

Result<std::string> MountedTree::Target(const std::string& path) {
  char target[4096];
  const ssize_t length = ::readlink(PathOf(path).c_str(), target, sizeof target);
  if (length < 0) return Failed("readlink");
  return std::string(target, static_cast<size_t>(length));
}

}  // namespace plugpull::guest
