// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/journal_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/ext4/jbd2_format.h"

namespace plugpull::ext4 {
namespace {

// Remembered checksums; forgotten when there are more.
constexpr size_t kRememberedMax = 1 << 20;

}  // namespace

JournalLog::JournalLog(BlockReader read, const JournalLayout& layout, Bytes bytes)
    : read_(std::move(read)), layout_(layout), bytes_(bytes), reader_(layout.blocks.size()) {}

std::span<const uint8_t> JournalLog::Block(uint32_t place) const {
  if (place >= layout_.blocks.size()) return {};
  return read_(layout_.blocks[place]);
}

void JournalLog::Start(const JournalSuper& super) {
  Forget(0);
  super_ = super;
  checksums_ = super.checksum_v2() || super.checksum_v3();
  const uint32_t seed = Crc32c(~0U, super.uuid);
  if (seed != seed_ || data_checksums_.size() > kRememberedMax) data_checksums_.clear();
  if (seed != seed_ || header_valid_.size() > kRememberedMax) header_valid_.clear();
  seed_ = seed;
  ReadOn();
}

bool JournalLog::StartLater(const JournalSuper& super) {
  JournalSuper expected = super_;
  expected.sequence = super.sequence;
  expected.start = super.start;
  if (transactions_.empty() || !refusal_.empty() || !(super == expected)) return false;
  // One must be left: what ends the log was judged by the commit before it.
  const uint32_t count = super.sequence - transactions_[0].sequence;
  if (count >= transactions_.size()) return false;
  if (super.start != (count == 0 ? super_.start : transactions_[count - 1].next_place)) {
    return false;
  }
  super_ = super;
  if (count > 0) DropFirst(count);
  return true;
}

void JournalLog::DropFirst(size_t count) {
  const Transaction last = transactions_[count - 1];
  const auto clear = [&](uint32_t place) { reader_[place] = 0; };
  std::for_each(places_.begin(), places_.end(), clear);
  std::for_each(tail_places_.begin(), tail_places_.end(), clear);
  const auto drop = [](auto& list, size_t many) {
    list.erase(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(many));
  };
  drop(transactions_, count);
  drop(places_, last.places_end);
  drop(writes_, last.writes_end);
  drop(revokes_, last.revokes_end);
  const auto mark = [&](uint32_t place, size_t transaction) {
    if (reader_[place] == 0) reader_[place] = static_cast<uint32_t>(transaction) + 1;
  };
  size_t at = 0;
  for (size_t i = 0; i < transactions_.size(); ++i) {
    transactions_[i].places_end -= last.places_end;
    transactions_[i].writes_end -= last.writes_end;
    transactions_[i].revokes_end -= last.revokes_end;
    for (; at < transactions_[i].places_end; ++at) mark(places_[at], i);
  }
  for (const uint32_t place : tail_places_) mark(place, transactions_.size());
  FindEnd();
}

size_t JournalLog::Reread(std::span<const uint32_t> changed_places) {
  size_t first = transactions_.size() + 1;
  for (const uint32_t place : changed_places) {
    if (reader_[place] != 0) first = std::min<size_t>(first, reader_[place] - 1);
  }
  if (first > transactions_.size()) return transactions_.size();
  Forget(first);
  ReadOn();
  return first;
}

void JournalLog::Forget(size_t kept) {
  const auto unmark = [&](uint32_t place) {
    if (reader_[place] > kept) reader_[place] = 0;
  };
  const size_t places = kept == 0 ? 0 : transactions_[kept - 1].places_end;
  std::for_each(places_.begin() + static_cast<std::ptrdiff_t>(places), places_.end(), unmark);
  std::for_each(tail_places_.begin(), tail_places_.end(), unmark);
  tail_places_.clear();
  places_.resize(places);
  writes_.resize(kept == 0 ? 0 : transactions_[kept - 1].writes_end);
  revokes_.resize(kept == 0 ? 0 : transactions_[kept - 1].revokes_end);
  transactions_.resize(kept);
  refusal_.clear();
  disputed_ = false;
}

// A place that is read twice counts as read by the first that did.
void JournalLog::MarkRead(uint32_t place) {
  if (reader_[place] == 0) reader_[place] = static_cast<uint32_t>(transactions_.size()) + 1;
}

void JournalLog::Advance(uint32_t& place, uint32_t count) const {
  place += count;
  if (place >= super_.blocks) place -= super_.blocks - super_.first;
}

uint32_t JournalLog::end_sequence() const {
  return complete_ == 0 ? super_.sequence : transactions_[complete_ - 1].sequence + 1;
}

bool JournalLog::ChecksumValid(std::span<const uint8_t> bytes, size_t at) {
  if (!checksums_) return true;
  const auto check = [&] {
    return jbd2::ChecksumWithout(seed_, bytes, at) == jbd2::Be32(bytes, at);
  };
  if (bytes_ == Bytes::kPassing) return check();
  const auto [it, added] = header_valid_.try_emplace(bytes.data(), false);
  if (added) it->second = check();
  return it->second;
}

bool JournalLog::DataValid(size_t index, uint32_t sequence) {
  if (!checksums_) return true;
  Write& write = writes_[index];
  if (write.valid) return *write.valid;
  const auto bytes = Block(write.place);
  if (bytes.empty()) return false;
  const auto compute = [&] {
    uint8_t number[4];
    jbd2::PutBe32(number, 0, sequence);
    return Crc32c(Crc32c(seed_, number), bytes);
  };
  uint32_t crc = 0;
  if (bytes_ == Bytes::kPassing) {
    crc = compute();
  } else {
    const auto [it, added] = data_checksums_.try_emplace({bytes.data(), sequence}, 0);
    if (added) it->second = compute();
    crc = it->second;
  }
  const bool valid =
      super_.checksum_v3() ? write.checksum == crc : (write.checksum & 0xffff) == (crc & 0xffff);
  if (bytes_ == Bytes::kLasting) write.valid = valid;
  return valid;
}

void JournalLog::ReadOn() {
  Open open{.sequence = super_.sequence, .place = super_.start};
  if (!transactions_.empty()) {
    open.sequence = transactions_.back().sequence + 1;
    open.place = transactions_.back().next_place;
  }
  while (ReadBlock(open)) {
    if (places_.size() > super_.blocks) {
      refusal_ = "the log has no end";
      break;
    }
  }
  // What an open transaction had is not part of any.
  const size_t kept = transactions_.size();
  places_.resize(kept == 0 ? 0 : transactions_.back().places_end);
  writes_.resize(kept == 0 ? 0 : transactions_.back().writes_end);
  revokes_.resize(kept == 0 ? 0 : transactions_.back().revokes_end);
  FindEnd();
}

// Under async_commit a wrong commit is the end of what is replayed, but not of the search; a later
// one takes its place, as info->end_transaction does, for which 0 is no number.
void JournalLog::FindEnd() {
  complete_ = transactions_.size();
  for (size_t i = transactions_.size(); i-- > 0;) {
    if (transactions_[i].commit_valid) continue;
    if (transactions_[i].sequence != 0) complete_ = i;
    return;
  }
}

bool JournalLog::ReadBlock(Open& open) {
  if (open.place >= super_.blocks) {
    refusal_ = fmt::format("journal block {} lies outside the journal", open.place);
    return false;
  }
  MarkRead(open.place);
  tail_places_.push_back(open.place);
  const auto bytes = Block(open.place);
  if (bytes.empty()) {
    refusal_ = fmt::format("journal block {} lies outside the disk", open.place);
    return false;
  }
  const JournalHeader header = ParseJournalHeader(bytes);
  if (header.sequence != open.sequence) return false;
  switch (header.type) {
    case JournalBlockType::kDescriptor:
      places_.push_back(open.place);
      Advance(open.place, 1);
      return ReadDescriptor(open, bytes);
    case JournalBlockType::kRevoke:
      places_.push_back(open.place);
      Advance(open.place, 1);
      ReadRevokes(open, bytes);
      return true;
    case JournalBlockType::kCommit:
      places_.push_back(open.place);
      Advance(open.place, 1);
      return ReadCommit(open, bytes);
    case JournalBlockType::kNone:
    case JournalBlockType::kSuper:
      break;
  }
  return false;
}

bool JournalLog::ReadDescriptor(Open& open, std::span<const uint8_t> bytes) {
  open.suspicious |= !ChecksumValid(bytes, bytes.size() - jbd2::kTailBytes);
  const auto tags = ParseTags(super_, bytes);
  if (tags.size() > super_.blocks - super_.first) {
    refusal_ = fmt::format("journal block {} describes {} blocks of a log of {}", places_.back(),
                           tags.size(), super_.blocks - super_.first);
    return false;
  }
  for (const JournalTag& tag : tags) {
    writes_.push_back({tag.block, open.place, tag.checksum, (tag.flags & 1) != 0, {}});
    places_.push_back(open.place);
    Advance(open.place, 1);
  }
  return true;
}

// PASS_REVOKE does not look at the checksum.
void JournalLog::ReadRevokes(Open& open, std::span<const uint8_t> bytes) {
  open.suspicious |= !ChecksumValid(bytes, bytes.size() - jbd2::kTailBytes);
  const size_t limit = bytes.size() - (checksums_ ? jbd2::kTailBytes : 0);
  const uint32_t count = jbd2::Be32(bytes, jbd2::kHeaderBytes);  // bytes used, header included
  if (count > limit) {
    open.revoke_bytes_wrong = count;
    return;
  }
  const auto homes = ParseRevokes(super_, bytes);
  revokes_.insert(revokes_.end(), homes.begin(), homes.end());
}

// jbd2_commit_block_csum_verify_partial in fs/jbd2/recovery.c: a commit block is zeroes behind its
// header, so one that tore behind its first sector has the checksum that its header has with
// zeroes.
bool JournalLog::HeaderAloneValid(std::span<const uint8_t> bytes) const {
  if (!checksums_ || bytes.size() <= jbd2::kCommitHeaderBytes) return false;
  std::vector<uint8_t> whole(bytes.size());
  std::copy_n(bytes.begin(), jbd2::kCommitHeaderBytes, whole.begin());
  return jbd2::ChecksumWithout(seed_, whole, jbd2::kCommitChecksumAt) ==
         jbd2::Be32(bytes, jbd2::kCommitChecksumAt);
}

bool JournalLog::ReadCommit(Open& open, std::span<const uint8_t> bytes) {
  Transaction done;
  done.commit_time = static_cast<uint64_t>(jbd2::Be32(bytes, jbd2::kCommitTimeAt)) << 32 |
                     jbd2::Be32(bytes, jbd2::kCommitTimeAt + 4);
  const bool stale = !transactions_.empty() && done.commit_time < transactions_.back().commit_time;
  if (open.suspicious) {
    if (!stale) {
      refusal_ = fmt::format("transaction {}: a descriptor's checksum is wrong", open.sequence);
    }
    return false;
  }
  done.commit_valid = ChecksumValid(bytes, jbd2::kCommitChecksumAt);
  if (!done.commit_valid && stale) return false;
  if (!done.commit_valid && HeaderAloneValid(bytes)) {
    disputed_ = true;
    refusal_ = fmt::format(
        "transaction {}: the commit block is as written in its header alone; Linux 6.11 and "
        "later, and stable kernels with that change, take it for one that tore and replay the "
        "transaction; others and e2fsck 1.47 give up",
        open.sequence);
    return false;
  }
  if (!done.commit_valid && !super_.async_commit()) {
    refusal_ = fmt::format("transaction {}: the commit block's checksum is wrong", open.sequence);
    return false;
  }
  done.sequence = open.sequence;
  done.revoke_bytes_wrong = open.revoke_bytes_wrong;
  done.places_end = places_.size();
  done.writes_end = writes_.size();
  done.revokes_end = revokes_.size();
  done.next_place = open.place;
  const size_t first = transactions_.empty() ? 0 : transactions_.back().places_end;
  for (size_t i = first; i < places_.size(); ++i) MarkRead(places_[i]);
  tail_places_.clear();
  transactions_.push_back(done);
  open = {.sequence = open.sequence + 1, .place = open.place};
  return true;
}

void JournalReplay::Clear(std::vector<uint64_t>& touched) {
  for (const auto& [home, source] : sources_) touched.push_back(home);
  sources_.clear();
  outside_.clear();
  revoked_.clear();
  applied_ = 0;
}

void JournalReplay::Follow(JournalLog& log, size_t kept, std::vector<uint64_t>& touched) {
  // A refusal may be lifted by a revoke that comes later.
  if (kept < applied_ || log.complete() < applied_ || !refusal_.empty()) Clear(touched);
  refusal_.clear();
  Apply(log, applied_, log.complete(), touched);
  applied_ = log.complete();
}

void JournalReplay::Apply(JournalLog& log, size_t first, size_t last,
                          std::vector<uint64_t>& touched) {
  const auto& transactions = log.transactions();
  size_t at = first == 0 ? 0 : transactions[first - 1].revokes_end;
  for (size_t i = first; i < last; ++i) {
    const auto& transaction = transactions[i];
    for (; at < transaction.revokes_end; ++at) {
      const uint64_t home = log.revokes()[at];
      revoked_[home] = transaction.sequence;
      if (sources_.erase(home) != 0) touched.push_back(home);
      outside_.erase(home);
    }
    if (transaction.revoke_bytes_wrong != 0 && refusal_.empty()) {
      refusal_ = fmt::format("transaction {}: a revoke block counts {} bytes of a block",
                             transaction.sequence, transaction.revoke_bytes_wrong);
    }
  }
  at = first == 0 ? 0 : transactions[first - 1].writes_end;
  for (size_t i = first; i < last; ++i) {
    const uint32_t sequence = transactions[i].sequence;
    for (; at < transactions[i].writes_end; ++at) {
      const JournalLog::Write& write = log.writes()[at];
      const auto revoked = revoked_.find(write.home);
      if (revoked != revoked_.end() && jbd2::TidAtOrAfter(revoked->second, sequence)) continue;
      if (!log.DataValid(at, sequence)) {
        if (!refusal_.empty()) continue;
        refusal_ = fmt::format(
            "transaction {}: the checksum of block {} in the journal (home: block {}) is wrong",
            sequence, write.place, write.home);
        continue;
      }
      if (!home_known_(write.home)) {
        outside_.insert(write.home);
        continue;
      }
      sources_[write.home] = {write.place, write.escaped};
      touched.push_back(write.home);
    }
  }
}

}  // namespace plugpull::ext4
