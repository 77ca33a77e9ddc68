// SPDX-License-Identifier: Apache-2.0
// A kernel in the cache is a folder that appears in one step, complete:
//   kernels/debian-6.1/manifest.json    what is in it, with fingerprints
//   kernels/debian-6.1/vmlinuz
//   kernels/debian-6.1/lib/modules/RELEASE/
// It is built under a name that begins with ".tmp-", which only the holder of the lock uses.
#include "vm/kernels/kernels.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "framework/image/fingerprint.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "vm/kernels/apt_fetch.h"
#include "vm/kernels/kernel_image.h"

namespace plugpull::vm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kNamePrefix[] = "debian:";
constexpr char kPackage[] = "linux-image-cloud-amd64";
constexpr int kManifestFormat = 1;
constexpr Bytes kManifestBytesMax(64 << 10);
constexpr Millis kLockWaitMax{900'000};
constexpr Millis kDepmodMax{120'000};

struct Debian {
  const char* version;  // "6.1": what the kernel's version begins with
  AptSuite suite;
};

const std::array<Debian, 4>& Catalogue() {
  static const std::array<Debian, 4> catalogue = {{
      {"5.10", {"bullseye", true}},
      {"6.1", {"bookworm", true}},
      {"6.12", {"trixie", true}},
      {"7.2", {"sid", false}},
  }};
  return catalogue;
}

std::string AllNames() {
  std::string names;
  for (const auto& entry : Catalogue()) {
    names += (names.empty() ? "" : ", ") + (kNamePrefix + std::string(entry.version));
  }
  return names;
}

Result<std::string> FingerprintOfFile(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto file, os::MappedFile::Open(path));
  return image::FingerprintOf(file.bytes()).ToHex();
}

Result<std::string> KernelsFolder() {
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  PP_RETURN_IF_ERROR(os::MakeFolders(cache + "/kernels"));
  return cache + "/kernels";
}

std::string FolderName(const Debian& entry) { return fmt::format("debian-{}", entry.version); }

// The kernel in `folder`, or why it cannot be used.
Result<Kernel> Load(const std::string& name, const std::string& folder) {
  PP_ASSIGN_OR_RETURN(const std::string text,
                      os::ReadFile(folder + "/manifest.json", kManifestBytesMax));
  const json manifest = json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto text_at = [&](const char* key) {
    if (!manifest.is_object()) return std::string();
    const auto it = manifest.find(key);
    return it != manifest.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  Kernel kernel{name, folder + "/vmlinuz", folder + "/lib/modules/" + text_at("release"),
                text_at("release")};
  if (kernel.release.empty() || !manifest.contains("format") ||
      manifest["format"] != kManifestFormat) {
    return EnvironmentError("its manifest cannot be read");
  }
  const std::pair<std::string, const char*> files[] = {
      {kernel.image, "image_xxh3"}, {kernel.modules + "/modules.dep", "modules_dep_xxh3"}};
  for (const auto& [path, key] : files) {
    PP_ASSIGN_OR_RETURN(const std::string found, FingerprintOfFile(path));
    if (found != text_at(key)) {
      return EnvironmentError(path + " is not what was fetched");
    }
  }
  return kernel;
}

// The only entry of `folder` that begins with `prefix`, as a path.
Result<std::string> OnlyEntry(const std::string& folder, const std::string& prefix) {
  PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(folder));
  std::vector<std::string> found;
  for (const auto& name : names) {
    if (name.starts_with(prefix)) found.push_back(folder + "/" + name);
  }
  if (found.size() != 1) {
    return EnvironmentError(fmt::format("the packages have {} entries {}{}*, where one is expected",
                                        found.size(), folder, prefix));
  }
  return found[0];
}

// From the unpacked packages in `root` to our layout in `folder`.
Status LayOut(const std::string& root, const std::string& folder) {
  const std::string usr = root + "/usr/lib/modules";
  PP_ASSIGN_OR_RETURN(const std::string modules,
                      OnlyEntry(os::IsFolder(usr) ? usr : root + "/lib/modules", ""));
  std::string image = modules + "/vmlinuz";
  if (!os::Exists(image)) {
    PP_ASSIGN_OR_RETURN(image, OnlyEntry(root + "/boot", "vmlinuz-"));
  }
  const std::string release = fs::path(modules).filename();
  PP_RETURN_IF_ERROR(os::Rename(image, folder + "/vmlinuz"));
  PP_RETURN_IF_ERROR(os::MakeFolders(folder + "/lib/modules"));
  PP_RETURN_IF_ERROR(os::Rename(modules, folder + "/lib/modules/" + release));
  PP_RETURN_IF_ERROR(os::RemoveAll(root));
  return OkStatus();
}

Status RunDepmod(const std::string& folder, const std::string& release) {
  // Some builds of kmod look below usr/lib.
  PP_RETURN_IF_ERROR(os::MakeFolders(folder + "/usr"));
  std::error_code error;
  fs::create_directory_symlink("../lib", folder + "/usr/lib", error);
  if (error) return EnvironmentError("cannot make a symbolic link: " + error.message());
  PP_ASSIGN_OR_RETURN(const std::string depmod, os::FindProgram("depmod", "kmod"));
  os::SubprocessOptions options;
  options.argv = {depmod, "-b", folder, release};
  PP_ASSIGN_OR_RETURN(const auto output, os::RunProgram(options, kDepmodMax));
  if (output.exit.signaled || output.exit.code != 0) {
    return EnvironmentError(
        fmt::format("depmod ended with {}: {}", output.exit.ToString(), output.out));
  }
  return OkStatus();
}

Status WriteManifest(const std::string& folder, const std::string& name, const std::string& release,
                     const FetchedPackages& fetched) {
  PP_ASSIGN_OR_RETURN(const std::string image, FingerprintOfFile(folder + "/vmlinuz"));
  PP_ASSIGN_OR_RETURN(
      const std::string modules_dep,
      FingerprintOfFile(fmt::format("{}/lib/modules/{}/modules.dep", folder, release)));
  const json manifest = {{"format", kManifestFormat},
                         {"name", name},
                         {"release", release},
                         {"package_version", fetched.version},
                         {"packages", fetched.packages},
                         {"image_xxh3", image},
                         {"modules_dep_xxh3", modules_dep}};
  return os::WriteFileAtomic(folder + "/manifest.json", manifest.dump(2) + "\n");
}

// Removes what fetches of this kernel, killed ones too, have left. The lock is held.
Status Sweep(const std::string& kernels, const std::string& prefix) {
  PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(kernels));
  for (const auto& name : names) {
    if (name.starts_with(prefix)) PP_RETURN_IF_ERROR(os::RemoveAll(kernels + "/" + name));
  }
  return OkStatus();
}

std::string BuildPrefix(const Debian& entry) { return ".tmp-" + FolderName(entry) + "-"; }

// Fetches into `folder`. The lock is held; Sweep is needed afterwards, also after an error.
Status Fetch(const Debian& entry, const std::string& name, const std::string& kernels,
             const std::string& folder, const std::string& apt_folder) {
  PP_ASSIGN_OR_RETURN(const DebianMirrors mirrors, SystemDebianMirrors());
  const std::string building = kernels + "/" + BuildPrefix(entry) + "new";
  PP_RETURN_IF_ERROR(os::MakeFolders(building + "/root"));
  spdlog::info("fetching the kernel {} from Debian's suite {} (once; it is kept in {})", name,
               entry.suite.suite, kernels);
  PP_ASSIGN_OR_RETURN(const FetchedPackages fetched,
                      FetchPackages(mirrors, entry.suite, kPackage,
                                    {"linux-image-", "linux-modules-", "linux-binary-"}, apt_folder,
                                    building + "/root"));
  if (!fetched.version.starts_with(std::string(entry.version) + ".")) {
    return EnvironmentError(
        fmt::format("Debian's suite {} has moved on to the kernel {}; name a kernel {} by path "
                    "(kernel: \"VMLINUZ:MODULES_FOLDER\")",
                    entry.suite.suite, fetched.version, entry.version));
  }
  PP_RETURN_IF_ERROR(LayOut(building + "/root", building));
  PP_ASSIGN_OR_RETURN(const auto image, os::MappedFile::Open(building + "/vmlinuz"));
  PP_ASSIGN_OR_RETURN(const std::string release, BzImageRelease(image.bytes()));
  PP_RETURN_IF_ERROR(RunDepmod(building, release));
  PP_RETURN_IF_ERROR(WriteManifest(building, name, release, fetched));
  if (os::Exists(folder)) {
    PP_RETURN_IF_ERROR(os::Rename(folder, kernels + "/" + BuildPrefix(entry) + "old"));
  }
  return os::Rename(building, folder);
}

Result<Kernel> ResolveDebian(const Debian& entry, const std::string& name) {
  PP_ASSIGN_OR_RETURN(const std::string kernels, KernelsFolder());
  const std::string folder = kernels + "/" + FolderName(entry);
  if (auto kernel = Load(name, folder); kernel.ok()) return kernel;
  PP_ASSIGN_OR_RETURN(const os::Fd lock, os::LockFile(kernels + "/." + FolderName(entry) + ".lock",
                                                      os::Deadline::After(kLockWaitMax)));
  auto kernel = Load(name, folder);  // another process may just have fetched it
  if (kernel.ok()) return kernel;
  if (os::Exists(folder)) {
    spdlog::warn("the kernel {} in the cache is damaged and is fetched again: {}", name,
                 kernel.error().ToString());
  }
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  const std::string apt_folder = cache + "/apt-" + entry.suite.suite;
  const auto sweep = [&]() -> Status {
    PP_RETURN_IF_ERROR(Sweep(kernels, BuildPrefix(entry)));
    return os::RemoveAll(apt_folder);
  };
  PP_RETURN_IF_ERROR(sweep());
  const Status fetched = Fetch(entry, name, kernels, folder, apt_folder);
  PP_RETURN_IF_ERROR(sweep());
  if (!fetched.ok()) {
    return WithContext(fetched.error(), fmt::format("cannot fetch the kernel {}", name));
  }
  return Load(name, folder);
}

Result<std::string> FindModules(const std::string& given, const std::string& release) {
  for (const std::string& folder : {given, given + "/" + release, given + "/lib/modules/" + release,
                                    given + "/usr/lib/modules/" + release}) {
    if (os::Exists(folder + "/modules.dep"))
      return fs::absolute(folder).lexically_normal().string();
  }
  return UserError(fmt::format(
      "{} has no modules.dep for the kernel {} (nor has lib/modules/{} in it): name the folder "
      "lib/modules/{} of this very kernel, and run depmod there if it was never run",
      given, release, release, release));
}

Result<Kernel> ResolvePath(const std::string& name, size_t colon) {
  Kernel kernel;
  kernel.name = name;
  kernel.image = fs::absolute(name.substr(0, colon)).lexically_normal().string();
  PP_ASSIGN_OR_RETURN(const auto image, os::MappedFile::Open(kernel.image));
  auto release = BzImageRelease(image.bytes());
  if (!release.ok()) return WithContext(std::move(release).error(), kernel.image);
  kernel.release = *release;
  PP_ASSIGN_OR_RETURN(kernel.modules, FindModules(name.substr(colon + 1), kernel.release));
  return kernel;
}

}  // namespace

Result<Kernel> ResolveKernel(const std::string& name) {
  for (const auto& entry : Catalogue()) {
    if (name == kNamePrefix + std::string(entry.version)) return ResolveDebian(entry, name);
  }
  const size_t colon = name.rfind(':');
  const bool is_path = name.find('/') != std::string::npos;
  if (!is_path || colon == std::string::npos || colon == 0 || colon + 1 == name.size()) {
    return UserError(fmt::format(
        "unknown kernel \"{}\": {} are possible, or \"VMLINUZ:MODULES_FOLDER\"", name, AllNames()));
  }
  return ResolvePath(name, colon);
}

Result<std::vector<KernelName>> KernelNames() {
  PP_ASSIGN_OR_RETURN(const std::string kernels, KernelsFolder());
  std::vector<KernelName> names;
  for (const auto& entry : Catalogue()) {
    KernelName known{kNamePrefix + std::string(entry.version), entry.suite.suite, false, ""};
    if (const auto kernel = Load(known.name, kernels + "/" + FolderName(entry)); kernel.ok()) {
      known.cached = true;
      known.release = kernel->release;
    }
    names.push_back(std::move(known));
  }
  return names;
}

}  // namespace plugpull::vm
