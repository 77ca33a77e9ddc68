// SPDX-License-Identifier: Apache-2.0
#include "framework/cli/output_file.h"

#include <fmt/format.h>

#include <filesystem>

namespace plugpull::cli {

namespace fs = std::filesystem;

Status CheckOutputFile(const std::string& path) {
  if (path.empty()) return UserError("the name of the file to write is empty");
  std::error_code error;
  const fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, error)) {
    return UserError(
        fmt::format("{} cannot be written: there is no folder {}; make it, or name "
                    "another file",
                    path, folder.string()));
  }
  const fs::file_status at = fs::symlink_status(path, error);
  if (at.type() == fs::file_type::symlink) {
    return UserError(
        fmt::format("{} is a symbolic link, which would be replaced; name another file", path));
  }
  if (fs::exists(at) && at.type() != fs::file_type::regular) {
    return UserError(fmt::format(
        "{} is there and is no regular file, so it is left alone; name another file", path));
  }
  return OkStatus();
}

}  // namespace plugpull::cli
