// SPDX-License-Identifier: Apache-2.0
#include "vm/qemu/accelerator.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/os/file.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::vm {
namespace {

using nlohmann::json;

constexpr char kBootIdPath[] = "/proc/sys/kernel/random/boot_id";
constexpr Bytes kMemoryBytesMax(64 << 10);
constexpr uint32_t kProbeMemoryMib = 256;
constexpr Millis kLockWaitMax{60'000};

// Empty when the device can be opened.
std::string WhyNotOpen(const std::string& device) {
  const os::Fd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (fd.valid()) return {};
  const int error = errno;
  if (error == ENOENT) return "this machine has no " + device;
  return fmt::format("{} cannot be opened: {}{}", device, os::ErrnoText(error),
                     error == EACCES ? "; add yourself to the group kvm" : "");
}

std::optional<AccelChoice> Remembered(const AcceleratorProbe& probe) {
  if (!os::Exists(probe.memory_path)) return std::nullopt;
  const auto text = os::ReadFile(probe.memory_path, kMemoryBytesMax);
  if (!text.ok()) return std::nullopt;
  const json memory = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!memory.is_object()) return std::nullopt;
  const auto text_at = [&](const char* key) {
    const auto it = memory.find(key);
    return it != memory.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  const std::string accelerator = text_at("accelerator");
  if (text_at("key") != probe.key || (accelerator != "kvm" && accelerator != "tcg")) {
    return std::nullopt;
  }
  return AccelChoice{accelerator, text_at("reason")};
}

AccelChoice Prove(const AcceleratorProbe& probe, const std::string& kernel_image,
                  const std::string& initramfs) {
  MachineOptions options;
  options.kernel_image = kernel_image;
  options.initramfs = initramfs;
  options.accelerator = "kvm";
  options.memory_mib = kProbeMemoryMib;
  const auto deadline = os::Deadline::After(probe.proof_max);
  const auto machine = probe.start(options);
  if (!machine.ok()) {
    const std::string message = machine.error().ToString();
    return {"tcg", fmt::format("{} exists, but QEMU does not start with it: {}", probe.device,
                               message.substr(0, message.find('\n')))};
  }
  const auto hello = (*machine)->WaitForHello(deadline);
  if (hello.ok()) return {"kvm", "a guest reached userland under " + probe.device};
  return {"tcg", fmt::format("{} exists, but a guest did not reach userland in {} s under it",
                             probe.device, probe.proof_max.count() / 1000)};
}

}  // namespace

Result<AccelChoice> ChooseAcceleratorWith(const AcceleratorProbe& probe, const std::string& wanted,
                                          const std::string& kernel_image,
                                          const std::string& initramfs) {
  if (wanted == "tcg") return AccelChoice{"tcg", "asked for"};
  if (wanted != "auto" && wanted != "kvm") {
    return UserError(
        fmt::format("unknown accelerator \"{}\": auto, kvm and tcg are possible", wanted));
  }
  const std::string why_not = WhyNotOpen(probe.device);
  if (wanted == "kvm") {
    if (why_not.empty()) return AccelChoice{"kvm", "asked for"};
    return EnvironmentError(why_not + "; use --accel tcg");
  }
  if (!why_not.empty()) return AccelChoice{"tcg", why_not};
  // One proof for all that start at the same time.
  PP_ASSIGN_OR_RETURN(const os::Fd lock,
                      os::LockFile(probe.memory_path + ".lock", os::Deadline::After(kLockWaitMax)));
  if (const auto remembered = Remembered(probe)) return *remembered;
  const AccelChoice choice = Prove(probe, kernel_image, initramfs);
  const json memory = {
      {"key", probe.key}, {"accelerator", choice.accelerator}, {"reason", choice.reason}};
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(probe.memory_path, memory.dump(2) + "\n"));
  return choice;
}

Result<AccelChoice> ChooseAccelerator(const std::string& wanted, const std::string& kernel_image,
                                      const std::string& initramfs) {
  AcceleratorProbe probe;
  probe.start = StartQemu;
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  probe.memory_path = cache + "/accel.json";
  PP_ASSIGN_OR_RETURN(const std::string qemu, QemuVersion());
  PP_ASSIGN_OR_RETURN(const std::string boot_id, os::ReadFile(kBootIdPath, Bytes(256)));
  utsname names{};
  if (::uname(&names) != 0) return EnvironmentError("uname failed: " + os::ErrnoText(errno));
  probe.key =
      fmt::format("{} | {} | {}", names.release, qemu, boot_id.substr(0, boot_id.find('\n')));
  return ChooseAcceleratorWith(probe, wanted, kernel_image, initramfs);
}

}  // namespace plugpull::vm
