// SPDX-License-Identifier: Apache-2.0
// The program as a user starts it, for tests: what it prints, where, and how it ends.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull {

inline std::string PlugpullPath() { return std::string(PLUGPULL_BINARY_DIR) + "/bin/plugpull"; }

struct ProgramEnd {
  int status = -1;  // exit status; -1 when it did not end by itself
  std::string out;
  std::string err;
};

// A folder of its own that is gone with the object.
class TestFolder {
 public:
  explicit TestFolder(const std::string& label)
      : path_(::testing::TempDir() + "plugpull-" + label + "-" + std::to_string(::getpid())) {
    (void)os::RemoveAll(path_);
    const Status made = os::MakeFolders(path_);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  ~TestFolder() { (void)os::RemoveAll(path_); }

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Runs plugpull in `folder`; stdout and stderr come back apart.
inline ProgramEnd RunPlugpull(const TestFolder& folder, const std::vector<std::string>& arguments,
                              Millis timeout = Millis(60'000),
                              const std::vector<std::string>& environment = {}) {
  const std::string err_file = folder / ".stderr";
  os::SubprocessOptions options;
  options.argv = {"/bin/sh", "-c", "exec \"$@\" 2>\"$0\"", err_file, PlugpullPath()};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = environment;
  options.folder = folder.path();
  const auto output = os::RunProgram(std::move(options), timeout, Mebibytes(64));
  ProgramEnd end;
  if (!output.ok()) {
    ADD_FAILURE() << output.error().ToString();
    return end;
  }
  if (!output->exit.signaled) end.status = output->exit.code;
  end.out = output->out;
  const auto err = os::ReadFile(err_file, Mebibytes(64));
  if (err.ok()) end.err = *err;
  (void)os::RemoveAll(err_file);
  return end;
}

// A file of /proc, which says that it is empty; nothing when it cannot be read.
inline std::string ReadProc(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Every process that has `NAME=value` in its environment, as "PID command line": a program's
// children have what it was started with.
inline std::vector<std::string> ProcessesWith(const std::string& variable) {
  std::vector<std::string> found;
  const auto names = os::ListFolder("/proc");
  if (!names.ok()) return {names.error().ToString()};
  for (const std::string& name : *names) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // Of a process that has ended, or that is another user's, nothing can be read.
    const auto environment = ReadProc("/proc/" + name + "/environ");
    if ((std::string(1, '\0') + environment).find(std::string(1, '\0') + variable + '\0') ==
        std::string::npos) {
      continue;
    }
    std::string command = ReadProc("/proc/" + name + "/cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    found.push_back(name + " " + command);
  }
  return found;
}

inline void WriteText(const std::string& path, const std::string& text) {
  const Status written = os::WriteFileAtomic(path, text);
  ASSERT_TRUE(written.ok()) << written.error().ToString();
}

// Sets a variable of this process for as long as the object lives.
class ScopedEnvironment {
 public:
  ScopedEnvironment(const char* name, const std::string& value)
      : name_(name), before_(os::GetEnv(name, "")) {
    ::setenv(name, value.c_str(), 1);
  }
  ~ScopedEnvironment() {
    before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1);
  }
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;

 private:
  const char* name_;
  std::string before_;
};

}  // namespace plugpull
