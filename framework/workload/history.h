// SPDX-License-Identifier: Apache-2.0
// A trace, indexed once, so that what must hold at any cut can be looked up: what each name stood
// for and when, what was done to each file's bytes, and which sync made which of it durable.
//
// What a sync that succeeded makes durable (everything of the kind that ended before it began;
// operations of a workload run one after the other):
//
//   sync(2)     all names, all sizes, all bytes. sync(2): "all pending modifications to filesystem
//               metadata and cached file data [are] written"; on Linux it waits for them.
//   syncfs(2)   the same, of this file system.
//   fsync(2)    of a file: its size, all its bytes, and the pending changes of its names: it
//               commits the transaction in which the inode last changed (ext4_fsync_journal in
//               fs/ext4/fsync.c, i_sync_tid), and creat, link, unlink and rename all change the
//               inode in the transaction of the name (fs/ext4/namei.c: i_ctime, nlink).
//   fdatasync   size and bytes, and the name that the file was created with: i_datasync_tid is set
//               when an inode is made (__ext4_new_inode in fs/ext4/ialloc.c) and when its size
//               changes (ext4_do_update_inode in fs/ext4/inode.c), not by link, unlink or rename.
//   O_SYNC      the bytes of that write, the size up to their end, and what fsync says of names:
//               generic_write_sync in include/linux/fs.h calls vfs_fsync_range for the bytes that
//               were written and no others, although open(2) reads as if all were covered.
//   fsync(2)    of a folder: the names in it and its own, no bytes and no sizes. fsync(2): for the
//               entry of a file "an explicit fsync() on a file descriptor for the directory is
//               also needed". ext4 commits the whole running transaction then (ext4_force_commit
//               for what is no regular file), which is more than is promised.
//
// Operations that failed may have done anything in part (write(2), fsync(2): after an error the
// state of the data is not known): what they touched is in doubt from then on, and nothing is
// demanded of it. The same goes for operations without a result (the guest died) once a later one
// is known to have ended.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/workload.pb.h"
#include "framework/workload/file_tree.h"

namespace plugpull::workload {

inline constexpr uint64_t kNever = UINT64_MAX;

// Operations whose success the guest marks in the block log before it begins another: all syncs,
// and waits.
bool IsAcknowledged(const Operation& operation);

// A cut, as seen from the workload. Two cuts with the same key have the same obligations.
struct ObligationKey {
  // Operations that had ended: one more than the highest index acknowledged before the cut.
  uint64_t ended_count = 0;
  // Operations that may have begun: one more than the index of the next one that is acknowledged
  // after the cut, or all operations. At least ended_count.
  uint64_t begun_count = 0;
  bool operator==(const ObligationKey&) const = default;
};

// The sync operation `sync` made durable the change by operation `change`, and those before it.
struct Cover {
  uint64_t sync = 0;
  uint64_t change = 0;
};

// Operations after which nothing is sure.
struct Doubt {
  uint64_t failed_at = kNever;   // first operation that failed
  uint64_t unknown_at = kNever;  // first operation without a result

  bool At(const ObligationKey& key) const {
    return failed_at < key.begun_count || unknown_at < key.ended_count;
  }
};

struct NameHistory {
  struct Change {
    uint64_t operation = 0;
    Binding after;
  };
  std::string path;             // as in Operation.path
  std::vector<Change> changes;  // in order; before the first the name is absent
  std::vector<Cover> covers;    // in order of sync and of change
  Doubt doubt;
};

struct FileHistory {
  enum class EventKind : uint8_t {
    kWrite,
    kSyncedWrite,  // O_SYNC
    kTruncate,     // to `length`
    kSync,         // all bytes and the size, if it is acknowledged
    kRemoved,      // the last name went
  };
  struct Event {
    uint64_t operation = 0;
    EventKind kind = EventKind::kWrite;
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  struct NameEvent {
    uint64_t operation = 0;
    size_t name = 0;     // in ObligationIndex::names()
    bool added = false;  // else removed
  };
  struct Snapshot {
    size_t event_count = 0;
    ContentMap content;  // after so many events
  };

  // The content after the first `event_count` events.
  ContentMap ContentAfter(size_t event_count) const;

  uint64_t file = 0;
  std::vector<Event> events;           // in order
  std::vector<NameEvent> name_events;  // in order; the first is the creation
  std::vector<Cover> covers;           // of changes of its names
  std::vector<Snapshot> snapshots;     // some, in order, so that ContentAfter stays cheap
  Doubt doubt;
};

// Immutable; any number of threads may read it.
class ObligationIndex {
 public:
  // A user error when the trace is damaged: an operation or a result that is out of bounds, out of
  // order, or says that something succeeded that cannot have.
  static Result<ObligationIndex> Make(const WorkloadTrace& trace);

  uint64_t operations() const { return kinds_.size(); }              // how many
  uint32_t workload() const { return workload_; }                    // WorkloadTrace.workload
  bool reuses_freed_blocks() const { return reuses_freed_blocks_; }  // early; data=writeback
  const std::vector<NameHistory>& names() const { return names_; }
  const std::vector<FileHistory>& files() const { return files_; }
  // Position in files() of a file that some name stood for.
  size_t FilePosition(uint64_t file) const { return file_positions_.at(file); }
  // Of everything: set when sync(2) itself failed.
  const Doubt& doubt() const { return doubt_; }

  // "fsync (operation 311)"; operations count from 0, as in the marks of the block log.
  std::string Describe(uint64_t operation) const;

 private:
  friend class IndexBuilder;
  struct KindOf {
    Operation::Kind kind = Operation::UNSPECIFIED;
    bool folder = false;
    bool o_sync = false;
  };

  std::vector<KindOf> kinds_;
  std::vector<NameHistory> names_;
  std::vector<FileHistory> files_;
  std::unordered_map<uint64_t, size_t> file_positions_;
  Doubt doubt_;
  uint32_t workload_ = 0;
  bool reuses_freed_blocks_ = false;
};

}  // namespace plugpull::workload

template <>
struct std::hash<plugpull::workload::ObligationKey> {
  size_t operator()(const plugpull::workload::ObligationKey& key) const noexcept {
    return std::hash<uint64_t>()(key.ended_count * 0x9e3779b97f4a7c15ULL ^ key.begun_count);
  }
};
