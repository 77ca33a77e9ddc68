// SPDX-License-Identifier: Apache-2.0
#include "vm/initramfs/modules.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::vm {
namespace {

constexpr Bytes kModuleBytesMax(64 << 20);
constexpr Millis kUnpackMax{60'000};

template <typename Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) visit(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t at = text.find_first_not_of(' '); at != std::string_view::npos;) {
    const size_t end = std::min(text.find(' ', at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(' ', end);
  }
  return words;
}

// Depth first; `open` are the modules whose dependencies are being added.
Status AddWithDependencies(const ModuleIndex& index, const std::string& path,
                           std::set<std::string>& open, std::set<std::string>& done,
                           std::vector<std::string>& order) {
  if (done.contains(path)) return OkStatus();
  const auto depends = index.depends.find(path);
  if (depends == index.depends.end()) {
    return EnvironmentError(fmt::format(
        "modules.dep does not list {}, which another module needs: run depmod again", path));
  }
  if (!open.insert(path).second) {
    return EnvironmentError(fmt::format("in modules.dep {} depends on itself", path));
  }
  // modules.dep has the nearest first; the kernel wants the farthest first.
  for (auto it = depends->second.rbegin(); it != depends->second.rend(); ++it) {
    PP_RETURN_IF_ERROR(AddWithDependencies(index, *it, open, done, order));
  }
  open.erase(path);
  done.insert(path);
  order.push_back(path);
  return OkStatus();
}

Result<std::string> Unpack(const std::string& tool, const std::string& package,
                           const std::string& path) {
  PP_ASSIGN_OR_RETURN(const std::string program, os::FindProgram(tool, package));
  os::SubprocessOptions options;
  options.argv = {program, "-dcq", path};
  PP_ASSIGN_OR_RETURN(auto output, os::RunProgram(options, kUnpackMax, kModuleBytesMax));
  if (output.exit.signaled || output.exit.code != 0 || output.truncated) {
    return EnvironmentError(fmt::format(
        "{} of {} ended with {}{}", tool, path, output.exit.ToString(),
        output.truncated ? fmt::format(", above the limit of {} bytes", kModuleBytesMax.value)
                         : ""));
  }
  return std::move(output.out);
}

Result<std::string> UnpackZstd(const std::string& path, std::string_view packed) {
  const auto size = ZSTD_getFrameContentSize(packed.data(), packed.size());
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN ||
      size > kModuleBytesMax.value) {
    return EnvironmentError(fmt::format("{} is no zstd file of at most {} bytes that says its size",
                                        path, kModuleBytesMax.value));
  }
  std::string content(size, '\0');
  const size_t n = ZSTD_decompress(content.data(), content.size(), packed.data(), packed.size());
  if (ZSTD_isError(n) || n != content.size()) {
    return EnvironmentError(fmt::format("{} is damaged: {}", path,
                                        ZSTD_isError(n) ? ZSTD_getErrorName(n) : "it is short"));
  }
  return content;
}

}  // namespace

std::string ModuleName(std::string_view path) {
  path = path.substr(path.rfind('/') + 1);
  std::string name(path.substr(0, path.find(".ko")));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Result<ModuleIndex> ParseModuleIndex(std::string_view modules_dep,
                                     std::string_view modules_builtin) {
  ModuleIndex index;
  std::string bad_line;
  ForEachLine(modules_dep, [&](std::string_view line) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0) {
      bad_line = line;
      return;
    }
    const std::string path(line.substr(0, colon));
    index.path[ModuleName(path)] = path;
    index.depends[path] = Words(line.substr(colon + 1));
  });
  if (!bad_line.empty()) {
    return EnvironmentError(fmt::format("modules.dep has a line without a path and a colon: {}",
                                        bad_line.substr(0, 200)));
  }
  ForEachLine(modules_builtin,
              [&](std::string_view line) { index.builtin.insert(ModuleName(line)); });
  return index;
}

Result<std::vector<std::string>> ResolveModules(const ModuleIndex& index,
                                                const std::vector<std::string>& wanted) {
  std::vector<std::string> order;
  std::set<std::string> open;
  std::set<std::string> done;
  for (const auto& module : wanted) {
    const std::string name = ModuleName(module);
    const auto path = index.path.find(name);
    if (index.builtin.contains(name) || path == index.path.end()) continue;
    PP_RETURN_IF_ERROR(AddWithDependencies(index, path->second, open, done, order));
  }
  return order;
}

Result<std::string> ReadModule(const std::string& path) {
  if (path.ends_with(".xz")) return Unpack("xz", "xz-utils", path);
  if (path.ends_with(".gz")) return Unpack("gzip", "gzip", path);
  PP_ASSIGN_OR_RETURN(std::string content, os::ReadFile(path, kModuleBytesMax));
  if (path.ends_with(".zst")) return UnpackZstd(path, content);
  return content;
}

}  // namespace plugpull::vm
