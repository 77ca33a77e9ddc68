// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/boot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "framework/os/fd.h"
#include "framework/os/file.h"

namespace plugpull::guest {
namespace {

constexpr Bytes kModuleListBytesMax(64u << 10);

struct KernelFileSystem {
  const char* type;
  const char* at;
  unsigned long flags;
  const char* data;
};

constexpr KernelFileSystem kKernelFileSystems[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, ""},
    {"devtmpfs", "/dev", MS_NOSUID, "mode=0755"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666"},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
};

// A module for hardware that is not there (ENODEV), such as a processor's checksum instruction, is
// not missed.
Status LoadModule(const std::string& path) {
  const os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return EnvironmentError(
        fmt::format("cannot open the kernel module {}: {}", path, os::ErrnoText(errno)));
  }
  if (::syscall(SYS_finit_module, fd.get(), "", 0) != 0 && errno != EEXIST && errno != ENODEV) {
    return EnvironmentError(
        fmt::format("the kernel refuses the module {}: {}; the lines above on the console say why",
                    path, os::ErrnoText(errno)));
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<std::string>> ParseModuleList(std::string_view text) {
  std::vector<std::string> paths;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (line.front() != '/') {
      return EnvironmentError(
          fmt::format("{}: \"{}\" is not an absolute path of a module", kModuleListPath, line));
    }
    if (paths.size() == kModulesMax) {
      return EnvironmentError(
          fmt::format("{} lists more than {} modules", kModuleListPath, kModulesMax));
    }
    paths.emplace_back(line);
  }
  return paths;
}

Status MountKernelFileSystems() {
  for (const auto& fs : kKernelFileSystems) {
    ::mkdir(fs.at, 0755);  // the mount below says it if this did not work
    if (::mount(fs.type, fs.at, fs.type, fs.flags, fs.data) != 0 && errno != EBUSY) {
      return EnvironmentError(
          fmt::format("cannot mount {} on {}: {}", fs.type, fs.at, os::ErrnoText(errno)));
    }
  }
  return OkStatus();
}

Status OpenConsole() {
  os::Fd console(::open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!console.valid()) {
    return EnvironmentError("cannot open /dev/console: " + os::ErrnoText(errno));
  }
  for (int fd = 0; fd <= 2; ++fd) {
    if (fd != console.get()) ::dup2(console.get(), fd);
  }
  if (console.get() <= 2) {  // it was the lowest free number, so it is one of the three itself
    ::fcntl(console.get(), F_SETFD, 0);
    console.Release();
  }
  return OkStatus();
}

void SetEnvironment() {
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  ::setenv("HOME", "/root", 1);
  ::setenv("TERM", "linux", 1);
}

Status LoadModules() {
  if (!os::Exists(kModuleListPath)) return OkStatus();
  PP_ASSIGN_OR_RETURN(const std::string text, os::ReadFile(kModuleListPath, kModuleListBytesMax));
  PP_ASSIGN_OR_RETURN(const auto paths, ParseModuleList(text));
  Status first_problem;
  for (const auto& path : paths) {
    Status loaded = LoadModule(path);
    if (!loaded.ok() && first_problem.ok()) first_problem = std::move(loaded);
  }
  return first_problem;
}

void QuietHousekeeping() {
  // Documentation/admin-guide/sysctl/vm.rst: kcompactd wakes up twice a second unless it is told
  // not to compact ahead; statistics are folded once a second.
  const std::pair<const char*, std::string_view> settings[] = {
      {"/proc/sys/vm/compaction_proactiveness", "0"}, {"/proc/sys/vm/stat_interval", "120"}};
  for (const auto& [path, value] : settings) {
    const os::Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
    if (fd.valid()) (void)!::write(fd.get(), value.data(), value.size());
  }
}

void ConsoleLine(std::string_view text) {
  const std::string line = fmt::format("plugpull-guest: {}\n", text);
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace plugpull::guest
