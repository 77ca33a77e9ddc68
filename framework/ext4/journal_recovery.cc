// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/journal_recovery.h"

#include <algorithm>

#include "framework/ext4/jbd2_format.h"
#include "framework/ext4/orphan_processing.h"

namespace plugpull::ext4 {
namespace {

uint16_t Le16(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] | bytes[at + 1] << 8);
}

void PutLe(std::span<uint8_t> bytes, size_t at, uint32_t value, size_t count) {
  for (size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
}

}  // namespace

JournalRecovery::JournalRecovery(const image::CowImage& raw, JournalLayout layout)
    : raw_(raw),
      layout_(std::move(layout)),
      fingerprint_(layout_, raw),
      usable_(fingerprint_.usable()),
      super_block_(kSuperblockAt / raw.block_bytes()),
      recovered_(raw.base(), raw.store()),
      log_([this](uint64_t block) { return raw_.Block(block); }, layout_,
           JournalLog::Bytes::kLasting),
      // A block that is replayed into the journal itself, or past the end, is e2fsck's.
      replay_([this](uint64_t home) {
        return home < raw_.size_bytes() / raw_.block_bytes() && !place_of_.contains(home);
      }),
      shape_(layout_) {
  if (usable_) {
    for (uint32_t place = 0; place < layout_.blocks.size(); ++place) {
      place_of_.emplace(layout_.blocks[place], place);
    }
  }
  fingerprint_.Prepare(recovered_);
  raw.ForEachDifference([&](uint64_t block, const image::Content&) { dirty_.push_back(block); });
}

const RecoveryReport& JournalRecovery::Update(std::span<const uint64_t> changed) {
  report_ = {};
  dirty_.insert(dirty_.end(), changed.begin(), changed.end());
  dirty_.insert(dirty_.end(), patched_.begin(), patched_.end());
  patched_.clear();
  for (const uint64_t block : changed) shape_.Changed(block, false);
  if (usable_) FollowLog(changed);
  const Need need = WhatIsNeeded();
  report_.outcome = need.outcome;
  report_.reason = need.reason;
  report_.disputed = need.disputed;
  Place(need.replay);
  if (need.discard) PatchJournal({.empty = true});
  if (!need.finish) return report_;
  report_.reason = Finish(need);
  if (report_.reason.empty()) return report_;
  report_.outcome = Outcome::kElsewhere;
  dirty_.insert(dirty_.end(), patched_.begin(), patched_.end());
  patched_.clear();
  Place(false);
  return report_;
}

void JournalRecovery::FollowLog(std::span<const uint64_t> changed) {
  if (layout_.blocks.empty()) return;
  const auto block = raw_.Block(layout_.blocks[0]);
  const bool followed = log_read_;  // up to the state before
  if (block.data() != journal_super_bytes_) {
    journal_super_bytes_ = block.data();
    journal_super_.reset();
    log_read_ = false;
    const auto parsed = ParseJournalSuper(block);
    if (parsed.ok()) journal_super_ = *parsed;
    journal_problem_ = !parsed.ok()            ? parsed.error().message
                       : parsed->fast_commit() ? std::string()
                                               : JournalSuperProblem(*parsed, layout_);
  }
  if (!journal_super_ || journal_super_->fast_commit() || !journal_problem_.empty() ||
      journal_super_->start == 0) {
    return;
  }
  if (!log_read_) {
    log_read_ = true;
    kept_ = 0;
    if (!followed || !log_.StartLater(*journal_super_)) return log_.Start(*journal_super_);
  }
  std::vector<uint32_t> places;
  for (const uint64_t number : changed) {
    const auto it = place_of_.find(number);
    if (it != place_of_.end()) places.push_back(it->second);
  }
  kept_ = std::min(kept_, log_.Reread(places));
}

std::span<const uint8_t> JournalRecovery::SuperBytes(const image::CowImage& image) const {
  return image.Block(super_block_).subspan(kSuperblockAt % image.block_bytes(), kSuperblockBytes);
}

// As Fsck::Recover of framework/oracle decides; there is why.
JournalRecovery::Need JournalRecovery::WhatIsNeeded() {
  if (!usable_) return {.outcome = Outcome::kElsewhere, .reason = "the journal does not fit"};
  const auto super = ParseSuperblockBytes(SuperBytes(raw_));
  if (!super.ok()) return {.reason = super.error().message};
  const bool has_log = super->has_journal() && !layout_.blocks.empty();
  if (has_log) {
    const std::string& refusal =
        log_read_ && journal_problem_.empty() ? log_.refusal() : journal_problem_;
    if (!refusal.empty()) {
      const bool disputed = &refusal == &log_.refusal() && log_.disputed();
      return {.outcome = Outcome::kRefused, .reason = refusal, .disputed = disputed};
    }
  }
  Need need{.outcome = Outcome::kRecovered};
  if (super->needs_recovery()) {
    if (log_read_ && has_log) {
      replay_.Follow(log_, kept_, dirty_);
      kept_ = log_.transactions().size();
      if (!replay_.refusal().empty()) {
        return {.outcome = Outcome::kRefused, .reason = replay_.refusal()};
      }
    }
    need.replay = true;
  } else {
    need.discard = has_log && journal_super_->start != 0;
    if (!super->has_orphans()) {
      if (!need.discard) need.outcome = Outcome::kClean;
      return need;
    }
  }
  need.finish = true;
  std::string elsewhere = ElsewhereReason(*super);
  if (!elsewhere.empty()) return {.outcome = Outcome::kElsewhere, .reason = std::move(elsewhere)};
  return need;
}

std::string JournalRecovery::ElsewhereReason(const Superblock& super) const {
  if (super.has_journal() && layout_.blocks.empty()) return "no journal was found";
  if (super.needs_recovery() && !super.has_journal()) return "recovery without a journal";
  if (super.has_journal()) {
    if (journal_super_->fast_commit()) return "fast commits";
    if (journal_super_->checksum_v1()) return "journal checksums of version 1";
    if (journal_super_->version != 2) return "journal superblock of version 1";
    if (journal_super_->users > 1) return "a journal of several file systems";
    if (log_read_ && super.needs_recovery() && replay_.outside()) {
      return "a block outside the file system, or in the journal, is written home";
    }
  }
  return {};
}

void JournalRecovery::Place(bool replayed) {
  // A log that was not read has nothing to replay.
  replayed = replayed && log_read_;
  if (replayed != replayed_) {
    replayed_ = replayed;
    for (const auto& [home, source] : replay_.sources()) dirty_.push_back(home);
  }
  for (const uint64_t block : dirty_) {
    recovered_.Set(block, TargetOf(block));
    shape_.Changed(block, true);
  }
  dirty_.clear();
}

const image::Content* JournalRecovery::TargetOf(uint64_t block) {
  if (replayed_) {
    const auto it = replay_.sources().find(block);
    if (it != replay_.sources().end()) return ContentOf(it->second);
  }
  return raw_.Difference(block);
}

const image::Content* JournalRecovery::ContentOf(const JournalReplay::Source& source) {
  const uint64_t block = layout_.blocks[source.place];
  const auto bytes = raw_.Block(block);
  if (!source.escaped) {
    if (const image::Content* content = raw_.Difference(block)) return content;
    const auto [it, added] = base_contents_.try_emplace(bytes.data(), nullptr);
    if (added) it->second = raw_.store().Intern(bytes);
    return it->second;
  }
  const auto [it, added] = unescaped_.try_emplace(bytes.data(), nullptr);
  if (added) {
    std::vector<uint8_t> copy(bytes.begin(), bytes.end());
    jbd2::PutBe32(copy, 0, jbd2::kMagic);
    it->second = raw_.store().InternCopy(copy);
  }
  return it->second;
}

// recover_ext3_journal, e2fsck_run_ext3_journal and e2fsck_check_ext3_journal, then
// release_orphan_inodes, of e2fsck.
std::string JournalRecovery::Finish(const Need& need) {
  if (std::string problem = shape_.Problem(raw_, false); !problem.empty()) return problem;
  if (std::string problem = shape_.Problem(recovered_, true); !problem.empty()) return problem;
  SuperEdit edit;
  const auto before = ParseSuperblockBytes(SuperBytes(recovered_));
  if (!layout_.blocks.empty()) {
    JournalSuperEdit journal{.empty = true, .clear_error = true};
    edit.error = journal_super_->error != 0;
    // The next transaction gets a number that nothing in the log has.
    if (need.replay) {
      const bool empty = journal_super_->start == 0;
      journal.sequence = (empty ? journal_super_->sequence : log_.end_sequence()) + 1;
    }
    PatchJournal(journal);
  }
  if (replayed_) {
    report_.transactions = static_cast<uint32_t>(log_.complete());
    report_.blocks_replayed = static_cast<uint32_t>(replay_.sources().size());
    report_.revoked = static_cast<uint32_t>(replay_.revoked());
  }
  // The list of a file system with errors is not trusted.
  const bool errors = edit.error || (before->state & kStateErrors) != 0;
  edit.drop_orphans = errors && before->has_orphans();
  PatchSuper(edit);
  if (errors || !before->has_orphans()) return {};
  const auto released = ProcessOrphans(recovered_, patched_);
  if (!released.ok()) return released.error().message;
  report_.orphans = *released;
  return {};
}

void JournalRecovery::Patch(uint64_t block, std::span<const uint8_t> bytes) {
  recovered_.SetCopy(block, bytes);
  patched_.push_back(block);
  shape_.Changed(block, true);
}

void JournalRecovery::PatchJournal(const JournalSuperEdit& edit) {
  const uint64_t block = layout_.blocks[0];
  const auto now = recovered_.Block(block);
  std::vector<uint8_t> bytes(now.begin(), now.end());
  EditJournalSuper(bytes, *journal_super_, edit);
  Patch(block, bytes);
}

void JournalRecovery::PatchSuper(const SuperEdit& edit) {
  constexpr size_t kStateAt = 0x3a;
  constexpr size_t kIncompatAt = 0x60;
  constexpr size_t kLastOrphanAt = 0xe8;
  constexpr size_t kChecksumAt = 0x3fc;
  const auto now = recovered_.Block(super_block_);
  std::vector<uint8_t> block(now.begin(), now.end());
  const auto bytes =
      std::span(block).subspan(kSuperblockAt % recovered_.block_bytes(), kSuperblockBytes);
  const auto super = ParseSuperblockBytes(bytes);
  bytes[kIncompatAt] &= static_cast<uint8_t>(~kIncompatNeedsRecovery);
  if (edit.error) PutLe(bytes, kStateAt, Le16(bytes, kStateAt) | kStateErrors, 2);
  if (edit.drop_orphans) PutLe(bytes, kLastOrphanAt, 0, 4);
  if ((super->feature_ro_compat & kRoCompatMetadataCsum) != 0) {
    PutLe(bytes, kChecksumAt, Crc32c(~0U, bytes.first(kChecksumAt)), 4);
  }
  Patch(super_block_, block);
}

image::Fingerprint JournalRecovery::fingerprint() const { return fingerprint_.Of(recovered_); }

RecoveryReport RecoverImage(std::span<const uint8_t> image) {
  const auto super = ParseSuperblock(image);
  if (!super.ok()) return {.reason = super.error().message};
  auto layout = FindJournal(image);
  image::ContentStore store(super->block_bytes);
  const image::CowImage raw(image, store);
  JournalRecovery recovery(raw, layout.ok() ? *std::move(layout) : JournalLayout());
  return recovery.Update({});
}

}  // namespace plugpull::ext4
