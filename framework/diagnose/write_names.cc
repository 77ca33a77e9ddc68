// SPDX-License-Identifier: Apache-2.0
#include "framework/diagnose/write_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "framework/base/check.h"

namespace plugpull::diagnose {

using blocklog::Event;
using crashstate::BlockRole;
using crashstate::BlockWrite;
using crashstate::kNoTransaction;
using Use = ext4::BlockUse;

namespace {

constexpr size_t kNamedMax = 4;  // blocks of one write, and inodes of one block

bool SaysLittle(Use::Kind kind) { return kind == Use::Kind::kFree || kind == Use::Kind::kUnknown; }

// Lies where mkfs has put it, for as long as the file system lives.
bool StaysInPlace(Use::Kind kind) {
  switch (kind) {
    case Use::Kind::kOutside:
    case Use::Kind::kSuperblock:
    case Use::Kind::kGroupDescriptors:
    case Use::Kind::kBlockBitmap:
    case Use::Kind::kInodeBitmap:
    case Use::Kind::kInodeTable:
    case Use::Kind::kJournal:
    case Use::Kind::kReservedInode:
      return true;
    case Use::Kind::kFree:
    case Use::Kind::kUnknown:
    case Use::Kind::kFolder:
    case Use::Kind::kFile:
    case Use::Kind::kTree:
    case Use::Kind::kAttributes:
      return false;
  }
  return false;
}

// "unit 3", "units 0-2 and 5".
std::string NumbersInWords(const std::vector<uint64_t>& units) {
  std::vector<std::string> runs;
  for (size_t i = 0; i < units.size();) {
    size_t end = i + 1;
    while (end < units.size() && units[end] == units[end - 1] + 1) ++end;
    runs.push_back(end - i == 1 ? fmt::format("{}", units[i])
                                : fmt::format("{}-{}", units[i], units[end - 1]));
    i = end;
  }
  const std::string last = runs.back();
  runs.pop_back();
  const std::string all =
      runs.empty() ? last : fmt::format("{} and {}", fmt::join(runs, ", "), last);
  return (units.size() == 1 ? "unit " : "units ") + all;
}

}  // namespace

const ext4::BlockRoles* WriteNames::RolesFor(uint64_t block, size_t event) const {
  if (roles_ != nullptr && !SaysLittle(roles_->UseOf(block).kind)) return roles_;
  const auto after = after_.find(event);
  if (after != after_.end() && !SaysLittle(after->second.UseOf(block).kind)) return &after->second;
  return roles_;
}

bool WriteNames::WantsRolesAfter(size_t event) const {
  if (roles_ == nullptr) return false;
  const auto writes = timeline_.WritesOf(event);
  return std::any_of(writes.begin(), writes.end(), [&](const BlockWrite& write) {
    const bool plain = write.role == BlockRole::kOther || write.role == BlockRole::kCheckpoint;
    const bool copy = write.role == BlockRole::kDataCopy;
    return (plain || copy) && SaysLittle(roles_->UseOf(copy ? write.home : write.block).kind);
  });
}

std::string WriteNames::BlockInWords(uint64_t block, size_t event) const {
  const ext4::BlockRoles* roles = RolesFor(block, event);
  if (roles == nullptr) return "for what is not known";
  if (roles != roles_) return roles->InWords(block) + ", when it was written";
  if (when_ == RolesOf::kBase && !StaysInPlace(roles->UseOf(block).kind)) {
    return "file or folder block";
  }
  if (roles->UseOf(block).kind == Use::Kind::kFree) return "free at the cut";
  return roles->InWords(block);
}

bool WriteNames::IsFileData(uint64_t block) const {
  const auto is_file = [&](const ext4::BlockRoles& roles) {
    return roles.UseOf(block).kind == Use::Kind::kFile;
  };
  return (roles_ != nullptr && is_file(*roles_)) ||
         std::any_of(after_.begin(), after_.end(),
                     [&](const auto& after) { return is_file(after.second); });
}

std::string WriteNames::SuperInWords(const BlockWrite& write) const {
  const auto super =
      std::find_if(timeline_.supers.begin(), timeline_.supers.end(),
                   [&](const auto& one) { return &timeline_.writes[one.write] == &write; });
  if (super == timeline_.supers.end()) return "journal superblock";
  if (super->start == 0) return "journal superblock that empties the journal";
  if (!super->moves_tail) {
    return fmt::format("journal superblock that begins the log at transaction {}", super->sequence);
  }
  return fmt::format("journal superblock that moves the tail from transaction {} to {}",
                     super->from_sequence, super->sequence);
}

std::string WriteNames::WordsOf(const BlockWrite& write) const {
  const uint32_t sequence =
      write.transaction == kNoTransaction ? 0 : timeline_.transactions[write.transaction].sequence;
  switch (write.role) {
    case BlockRole::kOther:
      return fmt::format("write of block {} ({})", write.block,
                         BlockInWords(write.block, write.event));
    case BlockRole::kCheckpoint:
      return fmt::format("checkpoint write of block {} ({}) of transaction {}", write.block,
                         BlockInWords(write.block, write.event), sequence);
    case BlockRole::kJournalSuper:
      return SuperInWords(write);
    case BlockRole::kDescriptor:
      return fmt::format("journal descriptor of transaction {}", sequence);
    case BlockRole::kDataCopy:
      return fmt::format("journal copy of block {} ({}) in transaction {}", write.home,
                         BlockInWords(write.home, write.event), sequence);
    case BlockRole::kRevoke:
      return fmt::format("revoke block of transaction {}", sequence);
    case BlockRole::kCommit:
      return fmt::format("commit block of transaction {}", sequence);
    case BlockRole::kJournalOther:
      return "journal block of no known transaction";
  }
  return {};
}

std::string WriteNames::EventInWords(size_t event) const {
  const Event& what = history_.events[event];
  const std::string entry = fmt::format("entry {}: ", what.entry);
  if (what.kind == Event::Kind::kMark) {
    return entry + (what.mark.kind == "ack"
                        ? fmt::format("mark of a sync that returned ({})", what.mark.text)
                        : fmt::format("mark {} {}", what.mark.kind, what.mark.text));
  }
  if (what.kind == Event::Kind::kFlush) return entry + "flush";
  const auto writes = timeline_.WritesOf(event);
  if (writes.empty()) {
    return entry + fmt::format("{} of {} bytes at byte {}",
                               what.kind == Event::Kind::kDiscard ? "discard" : "write",
                               what.length.value, what.offset.value);
  }
  std::vector<std::string> words;
  size_t more = 0;
  for (const BlockWrite& write : writes) {
    if (!write.changes && writes.size() > 1) continue;
    if (words.size() == kNamedMax) {
      ++more;
      continue;
    }
    words.push_back(WordsOf(write) + ChangedInodes(write));
  }
  if (words.empty()) words.push_back(WordsOf(writes.front()));
  if (more != 0) words.push_back(fmt::format("and {} more blocks", more));
  return entry + fmt::format("{}", fmt::join(words, "; "));
}

std::string WriteNames::UnitsInWords(size_t event, const std::vector<uint64_t>& missing,
                                     uint32_t unit_bytes) const {
  const uint64_t units = history_.events[event].length.value / unit_bytes;
  std::vector<uint64_t> arrived;
  for (uint64_t unit = 0; unit < units; ++unit) {
    if (!std::binary_search(missing.begin(), missing.end(), unit)) arrived.push_back(unit);
  }
  PP_CHECK(!arrived.empty() && !missing.empty());
  return fmt::format("of its {} units of {} bytes {} arrived, {} did not", units, unit_bytes,
                     NumbersInWords(arrived), NumbersInWords(missing));
}

std::span<const uint8_t> WriteNames::BytesOf(const BlockWrite& write) const {
  const Event& event = history_.events[write.event];
  const uint64_t at = write.block * timeline_.block_bytes;
  if (!write.whole || at < event.offset.value) return {};
  return event.data.subspan(at - event.offset.value, timeline_.block_bytes);
}

std::span<const uint8_t> WriteNames::BytesBefore(uint64_t home, const BlockWrite& write,
                                                 bool copies_count) const {
  const auto index = static_cast<size_t>(&write - timeline_.writes.data());
  for (size_t i = index; i-- > 0;) {
    const BlockWrite& other = timeline_.writes[i];
    const bool copy = other.role == BlockRole::kDataCopy && other.home == home;
    if (other.block == home || (copy && copies_count)) return BytesOf(other);
  }
  const uint64_t at = home * timeline_.block_bytes;
  if (home >= base_.size() / timeline_.block_bytes) return {};
  return base_.subspan(at, timeline_.block_bytes);
}

std::string WriteNames::ChangedInodes(const BlockWrite& write) const {
  const bool copy = write.role == BlockRole::kDataCopy;
  const bool home = write.role == BlockRole::kCheckpoint || write.role == BlockRole::kOther;
  if (roles_ == nullptr || (!copy && !home)) return {};
  const uint64_t block = copy ? write.home : write.block;
  if (roles_->UseOf(block).kind != Use::Kind::kInodeTable) return {};
  const auto now = BytesOf(write);
  const auto before = BytesBefore(block, write, copy);
  if (now.size() != before.size() || now.size() != roles_->block_bytes()) return {};
  const size_t size = roles_->inode_bytes();
  std::vector<std::string> changed;
  for (size_t i = 0; (i + 1) * size <= now.size(); ++i) {
    const auto one = now.subspan(i * size, size);
    if (std::equal(one.begin(), one.end(), before.begin() + static_cast<ptrdiff_t>(i * size))) {
      continue;
    }
    const uint32_t inode = roles_->FirstInodeOf(block) + static_cast<uint32_t>(i);
    changed.push_back(when_ == RolesOf::kBase ? fmt::format("{}", inode)
                                              : roles_->InodeInWords(inode));
  }
  if (changed.empty()) return {};
  const size_t more = changed.size() > kNamedMax ? changed.size() - kNamedMax : 0;
  changed.resize(changed.size() - more);
  const char* kind = when_ == RolesOf::kCut ? "" : changed.size() == 1 ? "inode " : "inodes ";
  return fmt::format(", changes {}{}{}", kind, fmt::join(changed, ", "),
                     more == 0 ? "" : fmt::format(" and {} more", more));
}

}  // namespace plugpull::diagnose
