// SPDX-License-Identifier: Apache-2.0
#include "framework/run/data_reach.h"

#include <algorithm>

#include "framework/ext4/file_system.h"

namespace plugpull::run {

using crashstate::BlockWrite;
using ext4::BlockUse;

Result<DataReach> DataReach::Make(const DiskSource& source, oracle::Fsck& fsck,
                                  const ext4::BlockRoles& roles, size_t cut) {
  PP_ASSIGN_OR_RETURN(auto work, oracle::WorkImage::Make(source.base(), source.base_extents()));
  return DataReach(source, fsck, roles, cut, std::move(work));
}

DataReach::DataReach(const DiskSource& source, oracle::Fsck& fsck, const ext4::BlockRoles& roles,
                     size_t cut, oracle::WorkImage work)
    : source_(source),
      fsck_(fsck),
      roles_(roles),
      cursor_(std::make_unique<crashstate::StateCursor>(source.space())),
      work_(std::move(work)) {
  const auto& line = source.timeline();
  for (uint32_t i = 0; i < line.transactions.size(); ++i) {
    if (!line.transactions[i].commit) continue;
    const size_t event = line.writes[*line.transactions[i].commit].event;
    if (event < cut) commits_.emplace_back(event, i);
  }
  std::sort(commits_.begin(), commits_.end());
}

std::optional<uint32_t> DataReach::TransactionOf(const BlockWrite& write) {
  const auto key = std::pair(write.event, write.block);
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  if (known_.size() == kWritesMax) {
    ++not_looked_at_;
    return std::nullopt;
  }
  return known_[key] = Find(write);
}

// Not reachable behind the write, reachable behind the last commit: between two neighbours the one
// turns into the other.
std::optional<uint32_t> DataReach::Find(const BlockWrite& write) {
  const BlockUse use = roles_.UseOf(write.block);
  auto low = std::lower_bound(commits_.begin(), commits_.end(), std::pair(write.event, 0U));
  if (use.kind != BlockUse::Kind::kFile || low == commits_.end()) return std::nullopt;
  if (Reachable(write.event + 1, write.block, use)) return std::nullopt;
  auto high = commits_.end() - 1;
  if (!Reachable(high->first + 1, write.block, use)) return std::nullopt;
  // The commit block at `high` is behind one that makes the block reachable, or is it.
  while (low != high) {
    const auto middle = low + (high - low) / 2;
    if (Reachable(middle->first + 1, write.block, use)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high->second;
}

bool DataReach::Reachable(size_t cut, uint64_t block, const BlockUse& use) {
  cursor_->MoveTo(cut, {}, false);
  cursor_->image().ClearChanges();
  work_.Load(cursor_->image());
  const oracle::RecoveryResult recovery = fsck_.Recover(work_, source_.journal());
  bool reachable = false;
  if (recovery.outcome == oracle::Outcome::kHolds) {
    auto fs = ext4::FileSystem::Open(work_.bytes());
    reachable = fs.ok() && fs->DataBlock(use.inode, use.place) == block;
  }
  // What e2fsck wrote is undone by the next Load.
  return work_.Scan(source_.journal()).ok() && reachable;
}

}  // namespace plugpull::run
