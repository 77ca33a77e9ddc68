// SPDX-License-Identifier: Apache-2.0
// A program called e2fsck that does what a test wants, found before the real one while the object
// lives. Not thread-safe: it changes PATH.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <string>

#include "framework/os/file.h"
#include "tests/support/program.h"

namespace plugpull {

class FakeE2fsck {
 public:
  // `body`: lines of sh; $REAL is the real e2fsck, $ARGUMENTS what this one was started with.
  explicit FakeE2fsck(const std::string& body) : path_(os::GetEnv("PATH", "")) {
    const auto real = os::FindProgram("e2fsck", "e2fsprogs");
    EXPECT_TRUE(real.ok());
    const std::string script = folder_ / "e2fsck";
    EXPECT_TRUE(os::WriteFileAtomic(script, "#!/bin/sh\n[ \"$1\" = -V ] && exit 0\nREAL=" + *real +
                                                "\nARGUMENTS=\"$*\"\n" + body + "\n")
                    .ok());
    EXPECT_EQ(::chmod(script.c_str(), 0755), 0);
    ::setenv("PATH", (folder_.path() + ":" + path_).c_str(), 1);
  }
  FakeE2fsck(const FakeE2fsck&) = delete;
  FakeE2fsck& operator=(const FakeE2fsck&) = delete;
  ~FakeE2fsck() { ::setenv("PATH", path_.c_str(), 1); }

 private:
  std::string path_;
  TestFolder folder_{"fake-e2fsck"};
};

}  // namespace plugpull
