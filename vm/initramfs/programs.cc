// SPDX-License-Identifier: Apache-2.0
#include "vm/initramfs/programs.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::vm {
namespace {

constexpr Millis kLoaderMax{30'000};
constexpr size_t kScriptLineMax = 256;   // BINPRM_BUF_SIZE of the kernel
constexpr int kInterpreterDepthMax = 4;  // as in the kernel: a script's interpreter may be one
constexpr const char* kSystemFolders[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};

std::string ScriptInterpreter(std::string_view content) {
  std::string_view line = content.substr(2, content.find('\n') - 2).substr(0, kScriptLineMax);
  const size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return {};
  line = line.substr(start);
  return std::string(line.substr(0, line.find_first_of(" \t\r")));
}

std::string_view Bytes(const os::MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

Status AddRequired(const std::string& path, int depth, std::set<std::string>& files) {
  PP_ASSIGN_OR_RETURN(const auto file, os::MappedFile::Open(path));
  auto interpreter = InterpreterOf(Bytes(file));
  if (!interpreter.ok()) return WithContext(std::move(interpreter).error(), path);
  if (interpreter->empty()) return OkStatus();
  if (depth == kInterpreterDepthMax) {
    return EnvironmentError(fmt::format("{}: interpreters are nested too deeply", path));
  }
  if (!os::Exists(*interpreter)) {
    return EnvironmentError(
        fmt::format("{} needs {}, which this machine does not have", path, *interpreter));
  }
  files.insert(*interpreter);
  if (Bytes(file).starts_with("#!")) return AddRequired(*interpreter, depth + 1, files);
  os::SubprocessOptions options;
  options.argv = {*interpreter, "--list", path};
  PP_ASSIGN_OR_RETURN(const auto output, os::RunProgram(options, kLoaderMax));
  if (output.exit.signaled || output.exit.code != 0) {
    return EnvironmentError(fmt::format("{} --list {} ended with {}: {}", *interpreter, path,
                                        output.exit.ToString(), output.out));
  }
  auto objects = ParseLoaderList(output.out);
  if (!objects.ok()) return WithContext(std::move(objects).error(), path);
  files.insert(objects->begin(), objects->end());
  return OkStatus();
}

}  // namespace

Result<std::string> InterpreterOf(std::string_view content) {
  if (content.starts_with("#!")) return ScriptInterpreter(content);
  if (!content.starts_with(ELFMAG)) return std::string();
  Elf64_Ehdr header;
  if (content.size() < sizeof header) return EnvironmentError("the ELF file is cut short");
  std::memcpy(&header, content.data(), sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64) {
    return EnvironmentError("the program is not for x86-64, as the guest is");
  }
  for (size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const uint64_t at = header.e_phoff + i * sizeof segment;
    if (at > content.size() || content.size() - at < sizeof segment) {
      return EnvironmentError("the ELF file is cut short");
    }
    std::memcpy(&segment, content.data() + at, sizeof segment);
    if (segment.p_type != PT_INTERP) continue;
    if (segment.p_offset > content.size() || content.size() - segment.p_offset < segment.p_filesz) {
      return EnvironmentError("the ELF file is cut short");
    }
    const std::string_view name = content.substr(segment.p_offset, segment.p_filesz);
    return std::string(name.substr(0, name.find('\0')));
  }
  return std::string();
}

Result<std::vector<std::string>> ParseLoaderList(std::string_view output) {
  std::vector<std::string> paths;
  std::string missing;
  while (!output.empty()) {
    const size_t end = std::min(output.find('\n'), output.size());
    std::string_view line = output.substr(0, end);
    output.remove_prefix(std::min(end + 1, output.size()));
    if (line.find("=> not found") != std::string_view::npos) {
      missing +=
          std::string(missing.empty() ? "" : ", ")
              .append(line.substr(0, line.find(" =>")).substr(line.find_first_not_of("\t ")));
      continue;
    }
    if (const size_t arrow = line.find("=> "); arrow != std::string_view::npos) {
      line = line.substr(arrow + 3);
    }
    const size_t start = line.find('/');
    if (start == std::string_view::npos) continue;  // the vdso, "statically linked"
    paths.emplace_back(line.substr(start, line.find(" (", start) - start));
  }
  if (!missing.empty()) {
    return EnvironmentError("shared objects are missing on this machine: " + missing);
  }
  return paths;
}

Result<std::string> LocateProgram(const std::string& name_or_path) {
  if (name_or_path.starts_with('/')) {
    if (os::Exists(name_or_path)) return name_or_path;
    return UserError(fmt::format("the program {} does not exist", name_or_path));
  }
  if (name_or_path.empty() || name_or_path.find('/') != std::string::npos) {
    return UserError(
        fmt::format("\"{}\" is neither an absolute path nor the name of a program", name_or_path));
  }
  for (const char* folder : kSystemFolders) {
    const std::string path = std::string(folder) + "/" + name_or_path;
    if (os::Exists(path)) return path;
  }
  const auto found = os::FindProgram(name_or_path, name_or_path);
  if (found.ok()) return *found;
  return UserError(fmt::format("the program {} is not on PATH; install it, or name it by its path",
                               name_or_path));
}

Result<std::vector<std::string>> RequiredFiles(const std::string& path) {
  std::set<std::string> files;
  PP_RETURN_IF_ERROR(AddRequired(path, 0, files));
  return std::vector<std::string>(files.begin(), files.end());
}

}  // namespace plugpull::vm
