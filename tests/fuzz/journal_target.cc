// SPDX-License-Identifier: Apache-2.0
#include "framework/base/check.h"
#include "framework/ext4/journal.h"
#include "framework/ext4/journal_recovery.h"
#include "tests/fuzz/hostile_image.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

using ext4::JournalInspection;
using ext4::JournalLayout;

constexpr uint8_t kFindAgain = 4;  // a bit of the byte 1: the journal is looked for, too

void ParseBlocks(const HostileImage& image, const JournalLayout& layout) {
  const auto block_at = [&](uint64_t block) {
    return image.bytes().subspan(block * layout.block_bytes, layout.block_bytes);
  };
  const auto super = ext4::ParseJournalSuper(block_at(layout.blocks[0]));
  if (!super.ok()) return;
  PP_CHECK(super->uuid.size() == 16);
  for (size_t i = 0; i < image.base().journal_blocks; ++i) {
    const auto block = block_at(image.base().blocks[i]);
    (void)ext4::ParseJournalHeader(block);
    PP_CHECK(ext4::ParseTags(*super, block).size() <= block.size() / 8);
  }
}

void CheckInspection(const JournalInspection& inspection, const JournalLayout& layout) {
  const bool refused = inspection.outcome == JournalInspection::Outcome::kRefused;
  PP_CHECK(refused == !inspection.reason.empty());
  PP_CHECK(refused || !inspection.refused_by_scan);
  if (inspection.outcome != JournalInspection::Outcome::kReplays) return;
  PP_CHECK(inspection.transactions > 0 && !inspection.used.empty());
  for (const uint32_t place : inspection.used) PP_CHECK(place < layout.blocks.size());
}

}  // namespace

void FuzzJournal(Input input) {
  HostileImage image(input, Target::kEverything);
  const JournalLayout& layout = image.base().journal;
  ParseBlocks(image, layout);
  CheckInspection(ext4::InspectJournal(image.bytes(), layout), layout);

  // Patches may have moved the journal, or cut its list of blocks short. To look takes longer than
  // all that is above.
  if (input.size() < 2 || (input[1] & kFindAgain) == 0) return;
  const auto found = ext4::FindJournal(image.bytes());
  if (found.ok()) CheckInspection(ext4::InspectJournal(image.bytes(), *found), *found);
  const ext4::RecoveryReport report = ext4::RecoverImage(image.bytes());
  using Outcome = ext4::RecoveryReport::Outcome;
  const bool needs_reason =
      report.outcome == Outcome::kRefused || report.outcome == Outcome::kElsewhere;
  PP_CHECK(!needs_reason || !report.reason.empty());
}

}  // namespace plugpull::fuzz
