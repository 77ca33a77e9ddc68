// SPDX-License-Identifier: Apache-2.0
// What must be found on a recovered file system after a cut. Per name and per byte:
//
//   names    A name stands for what it stood for when a sync last made it durable, or for what any
//            later operation that may have begun bound it to. Each name is looked at on its own: a
//            rename may show its old name, its new name, or both. Names that no sync has made
//            durable are not looked at.
//   files    A file with a durable name that was never without one (rename(2): "there is no point
//            at which another process [...] will find it missing") is found, with its content,
//            under one of the names that it had since.
//   sizes    The last durable size, or what later operations made it: exactly the length after a
//            truncate; anything between the old and the new size after a write past the end, since
//            ext4 moves the size on disk (i_disksize) along with the blocks it allocates.
//   bytes    A byte holds its last durable version or any later one. A write in place goes to the
//            same block, so there is no third possibility. A byte that a later truncate cut off
//            may be zero (ext4_block_truncate_page zeroes the rest of the block before the new
//            size is committed); once a write reaches past the cut the blocks may be new ones, and
//            under data=writeback a new block shows anything (Documentation/admin-guide/ext4.rst):
//            nothing is demanded. Under data=writeback that is so from the moment the cut may have
//            begun, since the freed blocks may be another file's before it is committed. So it is
//            for zeroes of a hole near a later write. Removing the
//            last name counts as a truncate to nothing.
//
// What was never synced owes nothing: with delayed allocation it may be empty.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/workload/history.h"

namespace plugpull::workload {

struct SizeRange {
  uint64_t low_bytes = 0;
  uint64_t high_bytes = 0;  // allowed too
};

// What the bytes [start, end) of a file may hold.
struct ByteObligation {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t version = 0;         // durable; 0: zeroes
  uint64_t sync = 0;            // operation that made it durable
  std::vector<uint64_t> later;  // versions that may have come after it
  bool zeroes_allowed = false;
};

struct FileObligation {
  uint64_t file = 0;
  uint64_t serial = 0;  // of one ObligationTracker: equal only when all below is equal; 0: none
  std::vector<SizeRange> sizes;       // none: any size. The first holds the durable size.
  uint64_t size_sync = 0;             // operation that made the size durable
  std::vector<ByteObligation> bytes;  // in order, without overlap
};

struct AllowedBinding {
  Binding binding;
  const FileObligation* content = nullptr;  // of a file
};

struct NameObligation {
  const std::string* path = nullptr;    // as in Operation.path
  uint64_t sync = 0;                    // operation that made ...
  uint64_t change = 0;                  // ... the change by this operation durable
  std::vector<AllowedBinding> allowed;  // at least one; the first is the durable one

  bool Allows(Binding::Kind kind) const;
};

struct ReachObligation {
  const FileObligation* content = nullptr;
  uint64_t sync = 0;                      // operation that made a name of it durable
  std::vector<const std::string*> names;  // at least one
};

struct Obligations {
  ObligationKey key;
  const ObligationIndex* index = nullptr;
  std::vector<const NameObligation*> names;
  // Only files whose existence does not follow from `names`.
  std::vector<const ReachObligation*> files;
};

// Answers for one cut after the other; remembers what has not changed in between, so cuts in
// ascending order are cheap. One thread at a time; the index is shared and must outlive it.
class ObligationTracker {
 public:
  explicit ObligationTracker(const ObligationIndex& index);
  ~ObligationTracker();
  ObligationTracker(const ObligationTracker&) = delete;
  ObligationTracker& operator=(const ObligationTracker&) = delete;

  // What must hold at a cut; valid until the next call. A user error when the key does not fit
  // the trace (the marks of another recording).
  Result<const Obligations*> At(const ObligationKey& key);

 private:
  struct NameEntry;
  struct FileEntry;

  void UpdateName(size_t name);
  void UpdateReach(size_t name);
  const FileObligation* UpdateFile(uint64_t file);
  bool NeedsNoReach(const FileEntry& entry, uint64_t file) const;
  FileEntry& EntryOf(size_t file);

  const ObligationIndex& index_;
  ObligationKey key_;
  uint64_t round_ = 0;  // counts calls of At
  uint64_t last_serial_ = 0;
  std::vector<NameEntry> names_;                   // as ObligationIndex::names()
  std::vector<std::unique_ptr<FileEntry>> files_;  // as ObligationIndex::files(); made when needed
  Obligations obligations_;
};

}  // namespace plugpull::workload
