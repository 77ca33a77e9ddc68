// SPDX-License-Identifier: Apache-2.0
// The writes of a history in words: what each was for in the life of the journal, what it held,
// and whose.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "framework/blocklog/history.h"
#include "framework/crashstate/journal_timeline.h"
#include "framework/ext4/block_roles.h"

namespace plugpull::diagnose {

// One thread at a time.
class WriteNames {
 public:
  // When the image was that `roles` are of. Those of the base say where metadata lies, and nothing
  // of files: they came later.
  enum class RolesOf : uint8_t { kCut, kBase };
  // All outlive it. `roles` may be null: then blocks have numbers only.
  WriteNames(const blocklog::History& history, const crashstate::JournalTimeline& timeline,
             std::span<const uint8_t> base, const ext4::BlockRoles* roles,
             RolesOf when = RolesOf::kCut)
      : history_(history), timeline_(timeline), base_(base), roles_(roles), when_(when) {}

  // For what `roles` calls free or unknown: the roles right after an event.
  void AddRolesAfter(size_t event, ext4::BlockRoles roles) {
    after_.insert_or_assign(event, std::move(roles));
  }
  // Whether `roles` alone does not say what an event was for.
  bool WantsRolesAfter(size_t event) const;

  // "commit block of transaction 301", "journal copy of block 276 (inode table of group 0, ...)".
  std::string WordsOf(const crashstate::BlockWrite& write) const;
  // "entry 1031: checkpoint of block 276 ..., by transaction 301; changes inode 31 (/d3/f80)".
  std::string EventInWords(size_t event) const;
  // "of its 8 units of 512 bytes units 0-2 arrived, units 3-7 did not". `missing`: ascending.
  std::string UnitsInWords(size_t event, const std::vector<uint64_t>& missing,
                           uint32_t unit_bytes) const;
  bool IsFileData(uint64_t block) const;

 private:
  const ext4::BlockRoles* RolesFor(uint64_t block, size_t event) const;
  std::string BlockInWords(uint64_t block, size_t event) const;
  std::string SuperInWords(const crashstate::BlockWrite& write) const;
  // Inodes whose bytes a write changed, with their paths; empty where that is not known.
  std::string ChangedInodes(const crashstate::BlockWrite& write) const;
  std::span<const uint8_t> BytesOf(const crashstate::BlockWrite& write) const;
  // What the block `home` held before a write: as the file system saw it, or on the disk alone.
  std::span<const uint8_t> BytesBefore(uint64_t home, const crashstate::BlockWrite& write,
                                       bool copies_count) const;

  const blocklog::History& history_;
  const crashstate::JournalTimeline& timeline_;
  std::span<const uint8_t> base_;
  const ext4::BlockRoles* roles_;
  RolesOf when_;
  std::map<size_t, ext4::BlockRoles> after_;
};

}  // namespace plugpull::diagnose
