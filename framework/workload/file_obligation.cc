// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/file_obligation.h"

#include <algorithm>
#include <utility>

#include "framework/workload/interval_map.h"

namespace plugpull::workload {
namespace {

// Zeroes of a hole owe nothing when a write comes so near that it may allocate their block: the
// largest block that ext4 can have (EXT4_MAX_BLOCK_SIZE in fs/ext4/ext4.h).
constexpr uint64_t kHoleNeighbourBytes = 65536;

// Bytes that may hold more versions than this owe nothing: it bounds the cost of a cut.
constexpr size_t kLaterVersionsMax = 1000;

// Starts with what is durable at a full sync, then lays later events over it.
class Overlay {
 public:
  Overlay(const ContentMap& durable, uint64_t sync, bool size_durable, bool reuses_freed_blocks)
      : size_bytes_(durable.size_bytes()),
        size_sync_(sync),
        size_durable_(size_durable),
        reuses_freed_blocks_(reuses_freed_blocks) {
    sizes_.push_back({size_bytes_, size_bytes_});
    for (const auto& [start, stretch] : durable.versions().stretches()) {
      bytes_.Assign(start, stretch.end, {stretch.value, sync, {}, false});
    }
  }

  void Write(uint64_t offset, uint64_t length, uint64_t version) {
    if (length == 0) return;
    MayAllocate(offset, length);
    bytes_.Update(offset, offset + length, [version](Owed& owed) {
      owed.later.push_back(version);
      return owed.later.size() <= kLaterVersionsMax;
    });
    sizes_.back().high_bytes = std::max(sizes_.back().high_bytes, size_bytes_);
  }

  // An O_SYNC write that was acknowledged, by the operation `sync`.
  void SyncedWrite(uint64_t offset, uint64_t length, uint64_t sync) {
    if (length == 0) return;
    MayAllocate(offset, length);
    bytes_.Assign(offset, offset + length, {VersionOf(sync), sync, {}, false});
    // Truncates before it are committed with the inode, so only the last stretch of sizes is left.
    SizeRange last = sizes_.back();
    last.low_bytes = std::max(last.low_bytes, offset + length);
    last.high_bytes = std::max(last.high_bytes, size_bytes_);
    sizes_.assign(1, last);
    size_durable_ = true;
    size_sync_ = sync;
  }

  void Truncate(uint64_t length) {
    if (length == size_bytes_) return;  // ext4_setattr changes nothing then
    if (length < size_bytes_) {
      bytes_.Update(length, UINT64_MAX, [this](Owed& owed) {
        owed.zeroes_allowed = true;
        return !reuses_freed_blocks_;
      });
      cut_off_from_ = std::min(cut_off_from_, length);
    }
    sizes_.push_back({length, length});
    size_bytes_ = length;
  }

  FileObligation Finish(uint64_t file) && {
    FileObligation obligation{
        .file = file, .serial = 0, .sizes = {}, .size_sync = size_sync_, .bytes = {}};
    if (size_durable_) obligation.sizes = std::move(sizes_);
    for (const auto& [start, stretch] : bytes_.stretches()) {
      const Owed& owed = stretch.value;
      obligation.bytes.push_back(
          {start, stretch.end, owed.version, owed.sync, owed.later, owed.zeroes_allowed});
    }
    return obligation;
  }

 private:
  struct Owed {
    uint64_t version = 0;
    uint64_t sync = 0;
    std::vector<uint64_t> later;
    bool zeroes_allowed = false;  // cut off by a truncate
  };

  // A write that begins may give the file new blocks, with bytes that nobody wrote in them.
  void MayAllocate(uint64_t offset, uint64_t length) {
    size_bytes_ = std::max(size_bytes_, offset + length);
    if (offset + length > cut_off_from_) {
      bytes_.Update(cut_off_from_, UINT64_MAX,
                    [](const Owed& owed) { return !owed.zeroes_allowed; });
      cut_off_from_ = kNever;
    }
    const uint64_t first = offset / kHoleNeighbourBytes * kHoleNeighbourBytes;
    const uint64_t last = ((offset + length - 1) / kHoleNeighbourBytes + 1) * kHoleNeighbourBytes;
    bytes_.Update(first, last, [](const Owed& owed) { return owed.version != 0; });
  }

  IntervalMap<Owed> bytes_;
  std::vector<SizeRange> sizes_;
  uint64_t size_bytes_;
  uint64_t size_sync_;
  bool size_durable_;
  bool reuses_freed_blocks_;
  uint64_t cut_off_from_ = kNever;
};

}  // namespace

FileObligation ObligationOf(const FileHistory& history, size_t ended_events, size_t begun_events,
                            bool reuses_freed_blocks) {
  using Kind = FileHistory::EventKind;
  size_t start = ended_events;
  while (start > 0 && history.events[start - 1].kind != Kind::kSync) --start;
  const bool synced = start > 0;
  const uint64_t sync = synced ? history.events[start - 1].operation : 0;
  Overlay overlay(history.ContentAfter(start), sync, synced, reuses_freed_blocks);
  for (size_t i = start; i < begun_events; ++i) {
    const FileHistory::Event& event = history.events[i];
    switch (event.kind) {
      case Kind::kSyncedWrite:
        if (i < ended_events) {
          overlay.SyncedWrite(event.offset, event.length, event.operation);
          break;
        }
        [[fallthrough]];
      case Kind::kWrite:
        overlay.Write(event.offset, event.length, VersionOf(event.operation));
        break;
      case Kind::kTruncate:
        overlay.Truncate(event.length);
        break;
      case Kind::kRemoved:
        overlay.Truncate(0);
        break;
      case Kind::kSync:
        break;  // begun, but not acknowledged: it changes nothing by itself
    }
  }
  return std::move(overlay).Finish(history.file);
}

}  // namespace plugpull::workload
