// SPDX-License-Identifier: Apache-2.0
// Is a recovered ext4 image consistent? Answers in e2fsck's place where it agrees with it, in
// microseconds for an image that differs little from the one before.
//
// The promise is one-sided. kClean: `e2fsck -fn` (e2fsprogs 1.47, no configuration) would exit
// with 0 on this image. The other answers promise nothing and mean "ask e2fsck". So everything
// that is not known to be handled is not clean: features, inode flags, layouts. Which check of
// e2fsck is done where, and which is made needless by refusing, is listed in
// framework/ext4/CONSISTENCY.md.
//
// Invariant: a verdict is a function of the image alone. What is remembered between calls are
// facts of single inodes, and sums over them; a fact is dropped when a byte that it was read from
// changes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "framework/image/cow_image.h"

namespace plugpull::ext4 {

struct ConsistencyVerdict {
  enum class Outcome : uint8_t {
    kClean,        // e2fsck -fn would exit with 0
    kSuspect,      // something is wrong, or looks wrong
    kCannotJudge,  // something is there that this check does not handle
  };
  Outcome outcome = Outcome::kCannotJudge;
  std::string reason;  // a problem, with numbers of inodes and blocks; empty when clean
};

// One thread at a time.
class ConsistencyChecker {
 public:
  // `image` outlives the checker. Its blocks need not be those of the file system.
  explicit ConsistencyChecker(const image::CowImage& image);
  ConsistencyChecker(const ConsistencyChecker&) = delete;
  ConsistencyChecker& operator=(const ConsistencyChecker&) = delete;
  ~ConsistencyChecker();

  // Judges the image as it is now: recovered, with an empty journal and without orphans.
  // `changed`: the image's blocks whose content may differ from what it was at the last call, in
  // any order; more than those do no harm. The first call looks at everything.
  ConsistencyVerdict Check(std::span<const uint64_t> changed);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The verdict on an image in memory, of any bytes whatever: for fuzzers and tests.
ConsistencyVerdict CheckConsistency(std::span<const uint8_t> image);

}  // namespace plugpull::ext4
