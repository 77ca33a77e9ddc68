// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/mounts.h"

#include <fmt/format.h>
#include <libmount.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "framework/os/file.h"

namespace plugpull::guest {
namespace {

// libmount 2.39 and later use fsopen and its like where the kernel has them, which report errors
// differently; this makes them use mount(2) everywhere.
constexpr char kForceMount2[] = "LIBMOUNT_FORCE_MOUNT2";

struct ContextDeleter {
  void operator()(libmnt_context* context) const { mnt_free_context(context); }
};
using Context = std::unique_ptr<libmnt_context, ContextDeleter>;

Status Prepare(libmnt_context* context, const std::string& source, const std::string& at,
               const std::string& type, const std::string& options) {
  const auto check = [&](int result, const char* what) {
    if (result == 0) return OkStatus();
    return Status(
        EnvironmentError(fmt::format("libmount refuses the {} (source {}, target {}, type "
                                     "{}, options \"{}\"): error {}",
                                     what, source, at, type, options, result)));
  };
  PP_RETURN_IF_ERROR(check(mnt_context_disable_helpers(context, 1), "way of mounting"));
  PP_RETURN_IF_ERROR(check(mnt_context_disable_mtab(context, 1), "way of mounting"));
  PP_RETURN_IF_ERROR(check(mnt_context_set_optsmode(context, MNT_OMODE_NOTAB), "way of mounting"));
  PP_RETURN_IF_ERROR(check(mnt_context_enable_rwonly_mount(context, 1), "way of mounting"));
  PP_RETURN_IF_ERROR(check(mnt_context_set_source(context, source.c_str()), "source"));
  PP_RETURN_IF_ERROR(check(mnt_context_set_target(context, at.c_str()), "target"));
  PP_RETURN_IF_ERROR(check(mnt_context_set_fstype(context, type.c_str()), "type"));
  return check(mnt_context_set_options(context, options.c_str()), "options");
}

}  // namespace

Result<KernelReply> Mount(const std::string& source, const std::string& at, const std::string& type,
                          const std::vector<std::string>& options) {
  if (at.empty() || at.front() != '/') {
    return EnvironmentError(fmt::format("the mount point \"{}\" is no absolute path", at));
  }
  PP_RETURN_IF_ERROR(os::MakeFolders(at));
  std::string joined;
  for (const auto& option : options) {
    if (!option.empty()) joined += (joined.empty() ? "" : ",") + option;
  }
  const Context context(mnt_new_context());
  if (!context) return EnvironmentError("libmount is out of memory");
  PP_RETURN_IF_ERROR(Prepare(context.get(), source, at, type, joined));
  ::setenv(kForceMount2, "always", 1);
  const int result = mnt_context_mount(context.get());
  ::unsetenv(kForceMount2);
  if (mnt_context_syscall_called(context.get()) != 1) {
    return EnvironmentError(
        fmt::format("libmount did not ask the kernel to mount {} on {} as {} with \"{}\": error {}",
                    source, at, type, joined, result));
  }
  KernelReply reply;
  if (result != 0 || mnt_context_get_status(context.get()) != 1) {
    reply.error_number = std::abs(mnt_context_get_syscall_errno(context.get()));
    if (reply.error_number == 0) {
      return EnvironmentError(fmt::format(
          "mounting {} on {} failed after the system call: error {}", source, at, result));
    }
  }
  return reply;
}

KernelReply Unmount(const std::string& at) {
  return {::umount2(at.c_str(), UMOUNT_NOFOLLOW) == 0 ? 0 : errno};
}

}  // namespace plugpull::guest
