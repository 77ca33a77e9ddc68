// SPDX-License-Identifier: Apache-2.0
// Recovery of one image in this process, held against e2fsck byte by byte.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ext4_tools.h"
#include "framework/ext4/file_system.h"
#include "framework/ext4/journal_recovery.h"
#include "framework/ext4/superblock.h"

namespace plugpull::ext4 {

// An image and what recovery makes of it.
struct RecoveredImage {
  explicit RecoveredImage(const Image& image)
      : store(ParseSuperblock(image)->block_bytes),
        raw(image, store),
        recovery(raw, FindJournal(image).ok() ? *FindJournal(image) : JournalLayout()),
        report(recovery.Update({})) {}

  Image Bytes() const {
    Image bytes(raw.size_bytes());
    recovery.recovered().Read(0, bytes);
    return bytes;
  }

  image::ContentStore store;
  image::CowImage raw;
  JournalRecovery recovery;
  RecoveryReport report;
};

// Zeroes the superblock's counters.
inline void DropCounters(Image& image) {
  const auto super = ParseSuperblock(image);
  if (!super.ok()) return;
  EXPECT_TRUE(super->checksum_valid);
  for (const ByteRange& range : CounterRanges(*super)) {
    std::fill(image.begin() + static_cast<std::ptrdiff_t>(range.start),
              image.begin() + static_cast<std::ptrdiff_t>(range.end), 0);
  }
}

// Recovers an image here and with e2fsck, and expects the same bytes. Gives what was done here;
// kRefused and kElsewhere are not compared. `apart`: blocks in which the two may differ.
inline RecoveryReport ExpectAsE2fsck(const Image& image, const std::set<uint64_t>& apart = {}) {
  const RecoveredImage here(image);
  using Outcome = RecoveryReport::Outcome;
  if (here.report.outcome != Outcome::kClean && here.report.outcome != Outcome::kRecovered) {
    EXPECT_NE(here.report.reason, "");
    return here.report;
  }
  Image actual = here.Bytes();
  Image expected = image;
  if (here.report.outcome == Outcome::kRecovered) {
    // e2fsck replays where the kernel empties the journal.
    const auto before = ParseSuperblock(image);
    const auto layout = FindJournal(image);
    if (!before->needs_recovery() && layout.ok() && !layout->blocks.empty() &&
        ReadJournalSuper(image, *layout)->start != 0) {
      EXPECT_TRUE(DiscardJournal(expected, *layout).ok());
    }
    if (before->needs_recovery() || before->has_orphans()) {
      const ToolEnd end = E2fsck(expected, {"-y", "-E", "journal_only"});
      EXPECT_EQ(end.status, 0) << end.out;
    }
  }
  DropCounters(actual);
  DropCounters(expected);
  const uint64_t size = here.store.block_bytes();
  std::vector<uint64_t> differing;
  for (uint64_t block = 0; block * size < image.size(); ++block) {
    if (apart.contains(block)) continue;
    const auto start = static_cast<std::ptrdiff_t>(block * size);
    if (!std::equal(actual.begin() + start, actual.begin() + start + static_cast<int64_t>(size),
                    expected.begin() + start)) {
      differing.push_back(block);
    }
  }
  EXPECT_TRUE(differing.empty()) << "blocks " << testing::PrintToString(differing);
  return here.report;
}

}  // namespace plugpull::ext4
