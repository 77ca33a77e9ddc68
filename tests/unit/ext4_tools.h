// SPDX-License-Identifier: Apache-2.0
// Real ext4 images, made and judged by e2fsprogs: what the tests hold our own readers against.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "tests/support/program.h"

namespace plugpull::ext4 {

using Image = std::vector<uint8_t>;

struct ToolEnd {
  int status = -1;
  std::string out;
};

// Runs a program of e2fsprogs on an image in a file; what it changes is in `image` afterwards. Its
// own configuration and the time of day change nothing.
inline ToolEnd RunTool(const std::string& name, std::vector<std::string> arguments, Image& image,
                       const std::string& input = {}) {
  const TestFolder folder("e2fsprogs");
  const std::string path = folder / "image";
  EXPECT_TRUE(
      os::WriteFileAtomic(path, {reinterpret_cast<const char*>(image.data()), image.size()}).ok());
  EXPECT_TRUE(os::WriteFileAtomic(folder / "input", input).ok());
  const auto program = os::FindProgram(name, "e2fsprogs");
  EXPECT_TRUE(program.ok());
  os::SubprocessOptions options;
  options.argv = {*program};
  for (const std::string& argument : arguments) {
    options.argv.push_back(argument == "@image"   ? path
                           : argument == "@input" ? folder / "input"
                                                  : argument);
  }
  options.environment = {"LC_ALL=C", "MKE2FS_CONFIG=/dev/null", "E2FSCK_CONFIG=/dev/null",
                         "E2FSCK_TIME=4000000000", "MKE2FS_SKIP_PROGRESS=1"};
  const auto run = os::RunProgram(options, Millis(60000));
  EXPECT_TRUE(run.ok()) << (run.ok() ? "" : run.error().ToString());
  const auto after = os::ReadFile(path, Bytes(1ULL << 30));
  EXPECT_TRUE(after.ok());
  image.assign(after->begin(), after->end());
  return {run->exit.signaled ? -1 : run->exit.code, run->out};
}

inline constexpr char kFeatures[] =
    "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum";

struct MkfsOptions {
  std::string features = kFeatures;
  std::string block_bytes = "1024";
  size_t mib = 4;
  std::vector<std::string> more = {"-J", "size=1"};
};

// The same bytes every time, but for times.
inline Image MakeExt4(const MkfsOptions& options = {}) {
  Image image(options.mib << 20);
  std::vector<std::string> arguments = {
      "-q",
      "-F",
      "-t",
      "ext4",
      "-b",
      options.block_bytes,
      "-N",
      "64",
      "-O",
      options.features,
      "-U",
      "11111111-2222-3333-4444-555555555555",
      "-E",
      "hash_seed=66666666-7777-8888-9999-aaaaaaaaaaaa,nodiscard,lazy_itable_init=0,"
      "lazy_journal_init=0,root_owner=0:0"};
  arguments.insert(arguments.end(), options.more.begin(), options.more.end());
  arguments.push_back("@image");
  const ToolEnd made = RunTool("mkfs.ext4", arguments, image);
  EXPECT_EQ(made.status, 0) << made.out;
  return image;
}

// Commands of debugfs, one a line; "@input" in them is a file that holds `input`.
inline void Debugfs(Image& image, const std::vector<std::string>& commands,
                    const std::string& input = {}) {
  const TestFolder folder("debugfs");
  EXPECT_TRUE(os::WriteFileAtomic(folder / "input", input).ok());
  std::string text;
  for (std::string command : commands) {
    if (const size_t at = command.find("@input"); at != std::string::npos) {
      command.replace(at, 6, folder / "input");
    }
    text += command + "\n";
  }
  const ToolEnd done = RunTool("debugfs", {"-w", "-f", "@input", "@image"}, image, text);
  EXPECT_EQ(done.status, 0) << done.out;
}

inline ToolEnd E2fsck(Image& image, const std::vector<std::string>& arguments) {
  std::vector<std::string> all = arguments;
  all.push_back("@image");
  return RunTool("e2fsck", all, image);
}

}  // namespace plugpull::ext4
