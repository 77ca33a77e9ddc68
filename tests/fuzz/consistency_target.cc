// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "framework/base/check.h"
#include "framework/ext4/consistency.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "tests/fuzz/hostile_image.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

using Outcome = ext4::ConsistencyVerdict::Outcome;

// Clean is a promise: e2fsck -fn exits with 0.
void CheckWithE2fsck(Input image) {
  static const auto e2fsck = os::FindProgram("e2fsck", "e2fsprogs");
  PP_CHECK(e2fsck.ok());
  const auto file = os::MakeMemFile("plugpull-fuzz", Bytes(image.size()));
  PP_CHECK(file.ok() && os::PwriteAll(file->get(), image, Bytes(0)).ok());
  os::SubprocessOptions options;
  options.argv = {*e2fsck, "-fn", "/proc/self/fd/3"};
  options.environment = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000"};
  options.pass_fds = {{file->get(), 3}};
  const auto run = os::RunProgram(options, Millis(8000), Bytes(64 << 10));
  PP_CHECK(run.ok());
  if (!run->exit.signaled && run->exit.code == 0) return;
  std::fprintf(stderr, "called clean, but e2fsck -fn: %s\n%s\n", run->exit.ToString().c_str(),
               run->out.c_str());
  PP_CHECK(run->exit.code == 0);
}

}  // namespace

void FuzzConsistency(Input input) {
  static const bool with_e2fsck = !os::GetEnv("PLUGPULL_FUZZ_E2FSCK", "").empty();
  const HostileImage image(input, Target::kOutsideJournal);
  const ext4::ConsistencyVerdict verdict = ext4::CheckConsistency(image.bytes());
  PP_CHECK((verdict.outcome == Outcome::kClean) == verdict.reason.empty());
  if (with_e2fsck && verdict.outcome == Outcome::kClean) CheckWithE2fsck(image.bytes());
}

}  // namespace plugpull::fuzz
