// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/journal_timeline.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <map>
#include <unordered_map>

#include "framework/ext4/superblock.h"

namespace plugpull::crashstate {

using blocklog::Event;
using ext4::JournalBlockType;

namespace {

constexpr size_t kJournalSuperBytes = 1024;
constexpr uint32_t kTagEscaped = 1;  // JBD2_FLAG_ESCAPE of include/linux/jbd2.h
constexpr std::array<uint8_t, 4> kJournalMagic = {0xc0, 0x3b, 0x39, 0x98};

// Transaction numbers wrap: `a` is before `b`.
bool SequenceBefore(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

// What each block holds while a history goes by.
class BlockContents {
 public:
  BlockContents(std::span<const uint8_t> base, uint64_t block_bytes)
      : base_(base), block_bytes_(block_bytes) {}

  // Puts these bytes there; false when they were there already.
  bool Put(uint64_t block, std::span<const uint8_t> bytes) {
    const auto [now, added] = now_.try_emplace(block, bytes.data());
    if (!added) {
      const uint8_t* before = std::exchange(now->second, bytes.data());
      return before == nullptr || std::memcmp(before, bytes.data(), bytes.size()) != 0;
    }
    const uint64_t at = block * block_bytes_;
    return IsDiscarded(block) || at + bytes.size() > base_.size() ||
           std::memcmp(base_.data() + at, bytes.data(), bytes.size()) != 0;
  }
  void Forget(uint64_t block) { now_[block] = nullptr; }
  void Discard(uint64_t first, uint64_t end) {
    now_.erase(now_.lower_bound(first), now_.lower_bound(end));
    auto it = discarded_.upper_bound(first);
    if (it != discarded_.begin() && std::prev(it)->second >= first) --it;
    while (it != discarded_.end() && it->first <= end) {
      first = std::min(first, it->first);
      end = std::max(end, it->second);
      it = discarded_.erase(it);
    }
    discarded_.emplace(first, end);
  }

 private:
  bool IsDiscarded(uint64_t block) const {
    const auto behind = discarded_.upper_bound(block);
    return behind != discarded_.begin() && std::prev(behind)->second > block;
  }

  std::span<const uint8_t> base_;
  uint64_t block_bytes_;
  std::map<uint64_t, const uint8_t*> now_;  // as last written; null: not known
  std::map<uint64_t, uint64_t> discarded_;  // first block to one past the last
};

class Decoder {
 public:
  Decoder(const blocklog::History& history, std::span<const uint8_t> base,
          const ext4::JournalLayout& journal)
      : history_(history),
        journal_(journal),
        size_(journal.block_bytes),
        contents_(base, size_),
        places_(journal.blocks.size()) {
    line_.block_bytes = journal.block_bytes;
    for (size_t i = 0; i < journal.blocks.size(); ++i) {
      place_of_.try_emplace(journal.blocks[i], static_cast<uint32_t>(i));
    }
    if (size_ == 0) return;
    if (auto super = ext4::ReadJournalSuper(base, journal); super.ok()) UseSuper(*super);
    super_block_ = ext4::kSuperblockAt / size_;
    if (base.size() >= ext4::kSuperblockAt) {
      home_orphans_ = HasOrphans(base.subspan(ext4::kSuperblockAt));
    }
  }

  JournalTimeline Run() {
    line_.first_write.assign(history_.events.size() + 1, 0);
    for (size_t i = 0; i < history_.events.size(); ++i) {
      line_.first_write[i] = line_.writes.size();
      if (i < history_.base) continue;
      const Event& event = history_.events[i];
      if (event.kind == Event::Kind::kDiscard) {
        line_.discards.push_back(i);
        if (size_ != 0) {
          contents_.Discard(event.offset.value / size_,
                            (event.offset + event.length).value / size_);
        }
      } else if (event.kind == Event::Kind::kWrite && size_ != 0) {
        DecodeWrite(i);
      }
      line_.orphan_cuts += OrphansNow() ? 1 : 0;
    }
    line_.first_write.back() = line_.writes.size();
    for (JournalTransaction& transaction : line_.transactions) {
      std::sort(transaction.blocks.begin(), transaction.blocks.end());
    }
    return std::move(line_);
  }

 private:
  // A block of the journal.
  struct Place {
    std::optional<size_t> last;       // its last write
    std::optional<size_t> unclaimed;  // a last write that no descriptor has announced yet
    uint32_t expected = kNoTransaction;  // announced, and not written yet
    uint64_t home = 0;
    bool escaped = false;
  };
  // The newest copy of a block in the journal.
  struct Copy {
    size_t write;
    uint32_t transaction;
    bool escaped;
  };

  std::span<const uint8_t> BytesOf(const BlockWrite& write) const {
    const Event& event = history_.events[write.event];
    const uint64_t at = write.block * size_;
    const uint64_t start = std::max(at, event.offset.value);
    const uint64_t end = std::min(at + size_, event.offset.value + event.data.size());
    return event.data.subspan(start - event.offset.value, end - start);
  }

  void DecodeWrite(size_t event) {
    const uint64_t start = history_.events[event].offset.value;
    const uint64_t end = start + history_.events[event].data.size();
    for (uint64_t block = start / size_; block * size_ < end; ++block) {
      BlockWrite write;
      write.event = event;
      write.block = block;
      write.whole = block * size_ >= start && (block + 1) * size_ <= end;
      const size_t index = line_.writes.size();
      line_.writes.push_back(write);
      const auto bytes = BytesOf(write);
      if (write.whole) {
        line_.writes[index].changes = contents_.Put(block, bytes);
      } else {
        contents_.Forget(block);
      }
      const auto place = place_of_.find(block);
      if (place != place_of_.end()) {
        line_.writes[index].role = BlockRole::kJournalOther;
        DecodeJournalBlock(index, place->second, bytes);
      } else {
        DecodeHome(index, bytes);
      }
    }
  }

  // ---- the log

  void DecodeJournalBlock(size_t index, uint32_t at, std::span<const uint8_t> bytes) {
    BlockWrite& write = line_.writes[index];
    if (at == 0) {
      write.role = BlockRole::kJournalSuper;
      if (write.block * size_ >= history_.events[write.event].offset.value) {
        DecodeSuper(index, bytes);
      }
      return;
    }
    Place& place = places_[at];
    const auto before = std::exchange(place.last, index);
    if (!write.whole || !super_) return;
    const ext4::JournalHeader header = ext4::ParseJournalHeader(bytes);
    if (header.type == JournalBlockType::kNone || header.type == JournalBlockType::kSuper) {
      place.unclaimed = index;
      if (place.expected != kNoTransaction) Claim(place, place.expected);
    } else if (!write.changes && before) {
      // Written along with its neighbours, by a log with larger sectors.
      const BlockWrite same = line_.writes[*before];
      write.role = same.role;
      write.transaction = same.transaction;
      return;
    } else {
      place.unclaimed.reset();
      place.expected = kNoTransaction;
      DecodeHeader(index, at, header, bytes);
    }
  }

  void DecodeHeader(size_t index, uint32_t at, const ext4::JournalHeader& header,
                    std::span<const uint8_t> bytes) {
    BlockWrite& write = line_.writes[index];
    write.transaction = OpenTransaction(header.sequence);
    JournalTransaction& transaction = line_.transactions[write.transaction];
    if (header.type == JournalBlockType::kCommit) {
      write.role = BlockRole::kCommit;
      return Commit(index, at);
    }
    transaction.blocks.push_back(index);
    if (header.type == JournalBlockType::kRevoke) {
      write.role = BlockRole::kRevoke;
      for (const uint64_t home : ext4::ParseRevokes(*super_, bytes)) Revoke(home, header.sequence);
      return;
    }
    write.role = BlockRole::kDescriptor;
    const uint32_t owner = write.transaction;
    uint32_t next = at;
    for (const ext4::JournalTag& tag : ext4::ParseTags(*super_, bytes)) {
      next = next + 1 >= super_->blocks ? super_->first : next + 1;
      Place& place = places_[next];
      place.home = tag.block;
      place.escaped = (tag.flags & kTagEscaped) != 0;
      place.expected = owner;
      if (place.unclaimed && *place.unclaimed >= behind_commit_) Claim(place, owner);
    }
  }

  // The unclaimed write of a place becomes the copy that a descriptor has announced.
  void Claim(Place& place, uint32_t owner) {
    const size_t index = *place.unclaimed;
    BlockWrite& write = line_.writes[index];
    write.role = BlockRole::kDataCopy;
    write.home = place.home;
    write.transaction = owner;
    line_.transactions[owner].blocks.push_back(index);
    newest_[place.home] = {index, owner, place.escaped};
    if (place.home == super_block_) copied_super_ = {owner, index};
    place.unclaimed.reset();
    place.expected = kNoTransaction;
  }

  // The transaction of a block with this number: the last one, unless it is committed.
  uint32_t OpenTransaction(uint32_t sequence) {
    const auto next = static_cast<uint32_t>(line_.transactions.size());
    const auto [it, added] = by_sequence_.try_emplace(sequence, next);
    if (added || line_.transactions[it->second].commit) {
      it->second = next;
      line_.transactions.emplace_back();
      line_.transactions.back().sequence = sequence;
    }
    return it->second;
  }

  void Commit(size_t index, uint32_t at) {
    const uint32_t owner = line_.writes[index].transaction;
    line_.transactions[owner].commit = index;
    live_.push_back(owner);
    behind_commit_ = index + 1;
    if (at < last_commit_at_) ++line_.wraps;
    last_commit_at_ = at;
    if (copied_super_ && copied_super_->first == owner) {
      const auto bytes = BytesOf(line_.writes[copied_super_->second]);
      const uint64_t offset = ext4::kSuperblockAt % size_;
      if (bytes.size() >= offset) journal_orphans_ = HasOrphans(bytes.subspan(offset));
      super_in_journal_ = owner;
    }
  }

  void Revoke(uint64_t home, uint32_t sequence) {
    const auto it = newest_.find(home);
    if (it == newest_.end()) return;
    if (!SequenceBefore(sequence, line_.transactions[it->second.transaction].sequence)) {
      newest_.erase(it);
    }
  }

  void UseSuper(const ext4::JournalSuper& super) {
    if (super.first == 0 || super.first >= super.blocks || super.blocks > places_.size()) return;
    super_ = super;
  }

  void DecodeSuper(size_t index, std::span<const uint8_t> bytes) {
    if (bytes.size() < kJournalSuperBytes) return;
    const auto super = ext4::ParseJournalSuper(bytes.first(kJournalSuperBytes));
    if (!super.ok() || (line_.writes[index].whole && !line_.writes[index].changes)) return;
    JournalSuperWrite now;
    now.write = index;
    now.sequence = super->sequence;
    now.start = super->start;
    if (super_ && super_->start != 0 &&
        (super->start != super_->start || super->sequence != super_->sequence)) {
      now.moves_tail = true;
      now.from_sequence = super_->sequence;
      DropUpTo(now);
    }
    if (super->start == 0) last_commit_at_ = 0;
    line_.supers.push_back(std::move(now));
    UseSuper(*super);
  }

  void DropUpTo(JournalSuperWrite& super) {
    while (!live_.empty() &&
           (super.start == 0 ||
            SequenceBefore(line_.transactions[live_.front()].sequence, super.sequence))) {
      line_.transactions[live_.front()].dropped_by = line_.supers.size();
      super.dropped.push_back(live_.front());
      live_.pop_front();
    }
  }

  // ---- outside the log

  void DecodeHome(size_t index, std::span<const uint8_t> bytes) {
    BlockWrite& write = line_.writes[index];
    if (write.block == super_block_) DecodeExt4Super(write, bytes);
    const auto copy = newest_.find(write.block);
    if (!write.whole || copy == newest_.end() || !IsCopy(copy->second, bytes)) return;
    write.role = BlockRole::kCheckpoint;
    write.transaction = copy->second.transaction;
    if (write.changes) line_.transactions[write.transaction].checkpoints.push_back(index);
  }

  bool IsCopy(const Copy& copy, std::span<const uint8_t> bytes) const {
    const auto kept = BytesOf(line_.writes[copy.write]);
    const size_t head = kJournalMagic.size();
    const auto first = copy.escaped ? std::span<const uint8_t>(kJournalMagic) : kept.first(head);
    return std::equal(first.begin(), first.end(), bytes.begin()) &&
           std::memcmp(kept.data() + head, bytes.data() + head, bytes.size() - head) == 0;
  }

  void DecodeExt4Super(const BlockWrite& write, std::span<const uint8_t> bytes) {
    const uint64_t start =
        std::max(write.block * size_, history_.events[write.event].offset.value);
    if (start > ext4::kSuperblockAt || bytes.size() < ext4::kSuperblockAt - start) return;
    home_orphans_ = HasOrphans(bytes.subspan(ext4::kSuperblockAt - start));
  }

  // `bytes` begin with the superblock.
  static bool HasOrphans(std::span<const uint8_t> bytes) {
    if (bytes.size() < ext4::kSuperblockBytes) return false;
    std::vector<uint8_t> image(ext4::kSuperblockAt + ext4::kSuperblockBytes);
    std::copy_n(bytes.begin(), ext4::kSuperblockBytes,
                image.begin() + static_cast<ptrdiff_t>(ext4::kSuperblockAt));
    const auto super = ext4::ParseSuperblock(image);
    return super.ok() && super->has_orphans();
  }

  // Of the superblock that recovery leaves: the journal's, while its transaction is in the log.
  bool OrphansNow() const {
    const bool in_journal = super_in_journal_ != kNoTransaction &&
                            !line_.transactions[super_in_journal_].dropped_by;
    return in_journal ? journal_orphans_ : home_orphans_;
  }

  const blocklog::History& history_;
  const ext4::JournalLayout& journal_;
  const uint64_t size_;
  JournalTimeline line_;
  BlockContents contents_;
  std::unordered_map<uint64_t, uint32_t> place_of_;
  std::vector<Place> places_;
  std::optional<ext4::JournalSuper> super_;  // none before mkfs has made the journal
  std::unordered_map<uint32_t, uint32_t> by_sequence_;
  std::unordered_map<uint64_t, Copy> newest_;
  std::deque<uint32_t> live_;  // committed, and not dropped yet, in that order
  size_t behind_commit_ = 0;   // writes from here on are behind the last commit
  uint32_t last_commit_at_ = 0;
  uint64_t super_block_ = 0;
  bool home_orphans_ = false;
  bool journal_orphans_ = false;
  uint32_t super_in_journal_ = kNoTransaction;
  std::optional<std::pair<uint32_t, size_t>> copied_super_;  // transaction, write
};

}  // namespace

JournalTimeline DecodeJournal(const blocklog::History& history, std::span<const uint8_t> base,
                              const ext4::JournalLayout& journal) {
  return Decoder(history, base, journal).Run();
}

}  // namespace plugpull::crashstate
