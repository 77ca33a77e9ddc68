// SPDX-License-Identifier: Apache-2.0
// The program as a user starts it, for tests: what it prints, where, and how it ends.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

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
