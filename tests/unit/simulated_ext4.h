// SPDX-License-Identifier: Apache-2.0
// A small ext4 with a page cache, delayed allocation, a journal and a disk with a volatile cache,
// to find out what a power cut can leave. It knows nothing of obligations: it follows what the
// kernel does, so that the obligations can be tested against it.
//
//   pages     an operation changes memory; writeback of a dirty block happens at any time,
//   allocates
//             (blocks that were freed are used again, with what is in them, after a commit) and
//             moves the size on disk.
//   journal   all changes of names, block maps and sizes on disk join the running transaction,
//   which
//             is committed as a whole at any time; fsync and fdatasync commit only when the inode
//             (or its data) has changed in it, as i_sync_tid and i_datasync_tid say.
//   ordered   a block is written before the commit that shows it; with data=writeback it may be
//             written after that.
//   disk      filled with poison; a commit flushes. Of the writes since the last flush any subset
//   reaches the medium.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/workload/file_tree.h"
#include "memory_view.h"

namespace plugpull::oracle {

class SimulatedExt4 {
 public:
  struct Options {
    bool data_writeback = false;
    uint64_t block_bytes = 1024;
    uint32_t writeback_permille = 150;  // of dirty blocks, after each operation
    uint32_t commit_permille = 150;     // after each operation
    bool dishonest = false;             // a defect: syncs do nothing
  };

  SimulatedExt4(const Options& options, uint64_t seed) : options_(options), prng_(seed) {}

  // Does the operation with this index, then whatever the kernel may do by itself.
  void Do(const Operation& operation, uint64_t index);
  // What is found after a power cut now, with a random subset of the volatile writes.
  MemoryView Crash();

 private:
  using Block = std::vector<uint8_t>;
  // What the journal protects.
  struct Inode {
    uint64_t disk_size = 0;
    std::map<uint64_t, size_t> blocks;  // block of the file -> block of the disk
  };
  struct Metadata {
    std::map<std::string, workload::Binding> names;
    std::map<uint64_t, Inode> inodes;  // by file
  };
  // What is in memory only.
  struct Cached {
    std::set<uint64_t> dirty;
    std::map<uint64_t, Block> delayed;  // data=writeback: allocated, the bytes not yet sent
    uint64_t sync_transaction = 0;
    uint64_t datasync_transaction = 0;
  };
  struct DiskWrite {
    size_t block = 0;
    Block bytes;
  };

  void ChangeNames(const std::vector<workload::NameChange>& changes, bool created);
  void ChangeBytes(const Operation& operation, uint64_t size_before);
  void Shrink(uint64_t file, uint64_t length);
  void SyncFor(const Operation& operation);
  void WriteBack(uint64_t file, uint64_t first_block, uint64_t last_block);
  void WriteBackOne(uint64_t file, uint64_t block);
  void SendDelayed(uint64_t file, uint64_t first_block, uint64_t last_block);
  size_t Allocate();
  void Commit();
  void Flush();
  void Background();
  Block CachedBytes(uint64_t file, uint64_t block) const;
  bool Alive(uint64_t file) const { return tree_.FindFile(file) != nullptr; }

  Options options_;
  Prng prng_;
  workload::FileTree tree_;            // memory
  std::map<uint64_t, Cached> cached_;  // by file
  std::map<std::string, uint64_t> folder_transaction_;
  Metadata running_;
  Metadata committed_;
  uint64_t transaction_ = 1;
  std::vector<Block> disk_;          // the medium
  std::vector<DiskWrite> volatile_;  // since the last flush, in order
  std::vector<size_t> free_blocks_;
  std::vector<size_t> freed_blocks_;  // in the running transaction
};

}  // namespace plugpull::oracle
