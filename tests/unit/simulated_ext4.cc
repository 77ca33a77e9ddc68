// SPDX-License-Identifier: Apache-2.0
#include "simulated_ext4.h"

#include <algorithm>
#include <utility>

#include "framework/image/poison.h"

namespace plugpull::oracle {

using workload::Binding;
using workload::NameChange;

SimulatedExt4::Block SimulatedExt4::CachedBytes(uint64_t file, uint64_t block) const {
  const uint64_t start = block * options_.block_bytes;
  const uint64_t end = start + options_.block_bytes;
  Block bytes(options_.block_bytes);
  for (const auto& [from, stretch] : tree_.FindFile(file)->content.versions().stretches()) {
    const uint64_t low = std::max(from, start);
    const uint64_t high = std::min(stretch.end, end);
    if (low >= high || stretch.value == 0) continue;
    workload::FillContent(file, stretch.value, low,
                          std::span(bytes).subspan(low - start, high - low));
  }
  return bytes;
}

size_t SimulatedExt4::Allocate() {
  if (!free_blocks_.empty() && prng_.Chance(700)) {
    const size_t position = prng_.Below(free_blocks_.size());
    const size_t block = free_blocks_[position];
    free_blocks_.erase(free_blocks_.begin() + static_cast<std::ptrdiff_t>(position));
    return block;
  }
  disk_.emplace_back(options_.block_bytes);
  image::FillPoison(1, (disk_.size() - 1) * options_.block_bytes, disk_.back());
  return disk_.size() - 1;
}

void SimulatedExt4::Flush() {
  for (DiskWrite& write : volatile_) disk_[write.block] = std::move(write.bytes);
  volatile_.clear();
}

void SimulatedExt4::Commit() {
  Flush();
  committed_ = running_;
  ++transaction_;
  free_blocks_.insert(free_blocks_.end(), freed_blocks_.begin(), freed_blocks_.end());
  freed_blocks_.clear();
}

void SimulatedExt4::WriteBackOne(uint64_t file, uint64_t block) {
  Cached& cached = cached_[file];
  Inode& inode = running_.inodes[file];
  cached.dirty.erase(block);
  const uint64_t size = tree_.FindFile(file)->content.size_bytes();
  if (block * options_.block_bytes >= size) return;
  const auto [mapped, is_new] = inode.blocks.emplace(block, 0);
  if (is_new) mapped->second = Allocate();
  const uint64_t disk_size =
      std::max(inode.disk_size, std::min(size, (block + 1) * options_.block_bytes));
  if (disk_size != inode.disk_size) cached.datasync_transaction = transaction_;
  if (is_new || disk_size != inode.disk_size) cached.sync_transaction = transaction_;
  // A new block in the map must be committed for the bytes to be found.
  if (is_new) cached.datasync_transaction = transaction_;
  inode.disk_size = disk_size;
  if (options_.data_writeback) {
    cached.delayed[block] = CachedBytes(file, block);
  } else {
    volatile_.push_back({mapped->second, CachedBytes(file, block)});
  }
}

void SimulatedExt4::SendDelayed(uint64_t file, uint64_t first_block, uint64_t last_block) {
  Cached& cached = cached_[file];
  auto position = cached.delayed.lower_bound(first_block);
  while (position != cached.delayed.end() && position->first <= last_block) {
    volatile_.push_back({running_.inodes[file].blocks.at(position->first), position->second});
    position = cached.delayed.erase(position);
  }
}

void SimulatedExt4::WriteBack(uint64_t file, uint64_t first_block, uint64_t last_block) {
  const std::set<uint64_t> dirty = cached_[file].dirty;
  for (auto block = dirty.lower_bound(first_block); block != dirty.end() && *block <= last_block;
       ++block) {
    WriteBackOne(file, *block);
  }
  SendDelayed(file, first_block, last_block);
}

void SimulatedExt4::ChangeNames(const std::vector<NameChange>& changes, bool created) {
  for (const NameChange& change : changes) {
    folder_transaction_[std::string(workload::ParentFolder(change.path))] = transaction_;
    for (const uint64_t file : {change.before.file, change.after.file}) {
      if (file == 0) continue;
      cached_[file].sync_transaction = transaction_;
      if (created) cached_[file].datasync_transaction = transaction_;
    }
    if (change.after.kind == Binding::Kind::kAbsent) {
      running_.names.erase(change.path);
    } else {
      running_.names[change.path] = change.after;
    }
    if (change.after.kind == Binding::Kind::kFolder) {
      folder_transaction_[change.path] = transaction_;
    }
    if (change.after.kind == Binding::Kind::kFile) running_.inodes[change.after.file];
    const uint64_t before = change.before.file;
    if (before == 0 || Alive(before)) continue;
    for (const auto& [block, place] : running_.inodes[before].blocks) {
      freed_blocks_.push_back(place);
    }
    running_.inodes.erase(before);
    cached_.erase(before);
  }
}

void SimulatedExt4::Shrink(uint64_t file, uint64_t length) {
  Inode& inode = running_.inodes[file];
  Cached& cached = cached_[file];
  const uint64_t kept = (length + options_.block_bytes - 1) / options_.block_bytes;
  for (auto block = inode.blocks.lower_bound(kept); block != inode.blocks.end();) {
    freed_blocks_.push_back(block->second);
    block = inode.blocks.erase(block);
  }
  cached.dirty.erase(cached.dirty.lower_bound(kept), cached.dirty.end());
  cached.delayed.erase(cached.delayed.lower_bound(kept), cached.delayed.end());
  // The rest of the last block is zeroed in memory.
  if (length % options_.block_bytes != 0 && inode.blocks.contains(kept - 1)) {
    cached.dirty.insert(kept - 1);
  }
}

void SimulatedExt4::ChangeBytes(const Operation& operation, uint64_t size_before) {
  const uint64_t file = operation.file();
  Inode& inode = running_.inodes[file];
  Cached& cached = cached_[file];
  if (operation.kind() == Operation::TRUNCATE) {
    if (operation.length() == size_before) return;
    if (operation.length() < size_before) Shrink(file, operation.length());
    inode.disk_size = operation.length();
    cached.sync_transaction = cached.datasync_transaction = transaction_;
    return;
  }
  if (operation.length() == 0) return;
  const uint64_t end = operation.offset() + operation.length();
  const uint64_t last = (end - 1) / options_.block_bytes;
  for (uint64_t block = operation.offset() / options_.block_bytes; block <= last; ++block) {
    cached.dirty.insert(block);
  }
  // ext4_da_should_update_i_disksize: the block at the new end is there already.
  if (end > inode.disk_size && end >= size_before && inode.blocks.contains(last)) {
    inode.disk_size = end;
    cached.sync_transaction = cached.datasync_transaction = transaction_;
  }
}

void SimulatedExt4::SyncFor(const Operation& operation) {
  constexpr uint64_t kAll = UINT64_MAX;
  const bool synced_write = operation.kind() == Operation::WRITE && operation.o_sync();
  if (operation.kind() == Operation::SYNC) {
    for (const auto& [file, inode] : std::map<uint64_t, Inode>(running_.inodes)) {
      WriteBack(file, 0, kAll);
    }
    return Commit();
  }
  const bool fsync = operation.kind() == Operation::FSYNC;
  if (!fsync && !synced_write && operation.kind() != Operation::FDATASYNC) return;
  const Binding binding = tree_.Lookup(operation.path());
  if (binding.kind == Binding::Kind::kFolder) {
    return folder_transaction_[operation.path()] == transaction_ ? Commit() : Flush();
  }
  if (synced_write) {
    if (operation.length() == 0) return;
    WriteBack(binding.file, operation.offset() / options_.block_bytes,
              (operation.offset() + operation.length() - 1) / options_.block_bytes);
  } else {
    WriteBack(binding.file, 0, kAll);
  }
  const Cached& cached = cached_[binding.file];
  const uint64_t needed =
      fsync || synced_write ? cached.sync_transaction : cached.datasync_transaction;
  return needed == transaction_ ? Commit() : Flush();
}

void SimulatedExt4::Background() {
  for (const auto& [file, inode] : std::map<uint64_t, Inode>(running_.inodes)) {
    for (const uint64_t block : std::set<uint64_t>(cached_[file].dirty)) {
      if (prng_.Chance(options_.writeback_permille)) WriteBackOne(file, block);
    }
    for (const auto& [block, bytes] : std::map<uint64_t, Block>(cached_[file].delayed)) {
      if (prng_.Chance(200)) SendDelayed(file, block, block);
    }
  }
  if (prng_.Chance(options_.commit_permille)) Commit();
  if (prng_.Chance(50)) Flush();
}

void SimulatedExt4::Do(const Operation& operation, uint64_t index) {
  const workload::FileTree::File* file = tree_.FindFile(operation.file());
  const uint64_t size_before = file == nullptr ? 0 : file->content.size_bytes();
  const auto changes = tree_.Apply(operation, index);
  PP_CHECK(changes.ok());
  ChangeNames(*changes, operation.kind() == Operation::CREATE);
  if (operation.kind() == Operation::WRITE || operation.kind() == Operation::TRUNCATE) {
    ChangeBytes(operation, size_before);
  }
  if (!options_.dishonest) SyncFor(operation);
  Background();
}

MemoryView SimulatedExt4::Crash() {
  std::vector<Block> disk = disk_;
  for (const DiskWrite& write : volatile_) {
    if (prng_.Chance(500)) disk[write.block] = write.bytes;
  }
  MemoryView view;
  std::map<uint64_t, uint64_t> inodes;
  for (const auto& [path, binding] : committed_.names) {
    if (binding.kind == Binding::Kind::kFolder) {
      view.AddFolder(path);
      continue;
    }
    const auto [known, is_new] = inodes.emplace(binding.file, view.next_inode);
    if (!is_new) {
      view.names[path] = known->second;
      continue;
    }
    const Inode& inode = committed_.inodes.at(binding.file);
    std::vector<uint8_t> bytes(inode.disk_size);
    for (const auto& [block, place] : inode.blocks) {
      const uint64_t start = block * options_.block_bytes;
      if (start >= bytes.size()) continue;
      const uint64_t length = std::min(options_.block_bytes, bytes.size() - start);
      std::copy_n(disk[place].begin(), length, bytes.begin() + static_cast<std::ptrdiff_t>(start));
    }
    view.AddFile(path, std::move(bytes));
  }
  return view;
}

}  // namespace plugpull::oracle
