// SPDX-License-Identifier: Apache-2.0
// Changes the files of an ext4 in memory through libext2fs, and says which blocks a transaction
// journals, writes as data, and revokes for it.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/base/result.h"
#include "tests/bench/jbd2_writer.h"
#include "tests/bench/memory_disk.h"

namespace plugpull::bench {

// One thread at a time. What is freed in a transaction may be given out again in the next one, not
// earlier: a transaction's frees come after all else.
class Ext4Files {
 public:
  // The disk holds a fresh file system, stays where it is, and outlives the object.
  static Result<Ext4Files> Open(MemoryDisk& disk, uint64_t seed);
  Ext4Files(Ext4Files&&) noexcept;
  ~Ext4Files();

  Result<std::vector<uint64_t>> JournalBlocks() const;
  // The superblock as a mount leaves it: it asks for recovery.
  void MarkMounted();
  uint64_t superblock_block() const;
  uint64_t free_blocks() const;

  struct File {
    uint32_t folder = 0;
    uint32_t inode = 0;
    std::string name;
    uint64_t blocks = 0;
    bool journaled = false;  // its data goes through the journal
  };
  Result<uint32_t> MakeFolder(uint32_t parent, const std::string& name);
  Result<File> Create(uint32_t folder, const std::string& name, bool journaled);
  // Adds `blocks` blocks of random bytes.
  Status AppendTo(File& file, uint64_t blocks);
  Status Rename(File& file, uint32_t folder, const std::string& name);
  // Frees; call these last in a transaction.
  Status RemoveFolder(uint32_t parent, const std::string& name, uint32_t inode);
  Status Remove(const File& file);

  // What happened since the last call.
  Jbd2Writer::Transaction TakeTransaction();

 private:
  struct Impl;
  explicit Ext4Files(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace plugpull::bench
