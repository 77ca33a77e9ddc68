// SPDX-License-Identifier: Apache-2.0
// Of the consistency check: the facts of all inodes, and what they add up to: claimed blocks, names
// and links, shared attribute blocks, the tree of directories. Facts are replaced one inode at a
// time, and what they add is taken back and added again; what is wrong is kept as sets, so that
// nothing is searched for. Rules: e2fsck/pass1.c to pass4.c.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "framework/ext4/consistency_groups.h"
#include "framework/ext4/consistency_inode.h"
#include "framework/ext4/consistency_layout.h"
#include "framework/ext4/consistency_xattr.h"

namespace plugpull::ext4 {

class InodeBooks {
 public:
  // `view` and `groups` outlive the books; the groups' tables are inside the file system and apart.
  InodeBooks(const Geometry& geometry, BlockView& view, GroupBooks& groups);

  // The facts of an inode are to be read anew.
  void MarkStale(uint32_t inode);
  // The same for those that were read from a block, where its bytes are others now.
  void MarkReaders(uint64_t block);

  // Reads what is stale. `bytes_of` gives the bytes of an inode, or null when it lies in a part of
  // the inode table that is not in use.
  template <typename BytesOf>
  void Refresh(const BytesOf& bytes_of) {
    while (!stale_.empty() && !saturated()) {
      const uint32_t inode = stale_.back();
      stale_.pop_back();
      RefreshInode(inode, bytes_of(inode));
    }
  }

  // What single inodes and attribute blocks have against them.
  Judgement JudgeParts();
  // What they have against each other; JudgeParts is fine.
  Judgement JudgeSums();

 private:
  struct Inode {
    std::unique_ptr<InodeFacts> facts;  // null: not in use, and nothing wrong
    uint64_t name_holders = 0;          // sum of the directories that hold its names
    uint32_t names = 0;                 // without "." and ".."
    uint32_t references = 0;            // with them
    std::array<uint32_t, 8> references_by_type{};
    uint32_t parent = 0;  // of a directory, at the last walk
    uint32_t walk = 0;    // twice the number of the walk that began here, plus one when it ended
    bool stale = false;
    bool touched = false;
  };
  // Inodes by number. Most of a large disk are never in use: room is made for those that somebody
  // asks for, and their neighbours.
  class InodeTable {
   public:
    explicit InodeTable(uint32_t count) : chunks_(count / kChunk + 1) {}
    Inode& operator[](uint32_t number) {
      auto& chunk = chunks_[number / kChunk];
      if (!chunk) chunk = std::make_unique<Inode[]>(kChunk);
      return chunk[number % kChunk];
    }

   private:
    static constexpr uint32_t kChunk = 128;
    std::vector<std::unique_ptr<Inode[]>> chunks_;
  };
  struct AttributeUse {
    uint32_t inodes = 0;
    const uint8_t* bytes = nullptr;
    AttributeBlock block;
  };

  // More was claimed and read than a consistent file system can have: nothing more needs to be
  // read, so that work and memory stay bounded.
  bool saturated() const { return charge_ > 2 * g_.blocks + 16; }
  void RefreshInode(uint32_t inode, const uint8_t* bytes);
  void Replace(uint32_t inode, std::unique_ptr<InodeFacts> facts);
  void ReplaceWatched(uint32_t inode, const InodeFacts* before, const InodeFacts* after);
  void ReplaceDirectory(uint32_t inode, const InodeFacts* before, const InodeFacts* after);
  void CountEntries(uint32_t directory, const DirectoryBlock& block, bool add);
  void UseAttributes(uint64_t block, bool add);
  void JudgeAttributes(uint64_t block);
  void Touch(uint32_t inode);
  Judgement JudgeTouched(uint32_t inode);
  Judgement JudgeTree();

  const Geometry g_;
  BlockView& view_;
  GroupBooks& groups_;
  InodeTable inodes_;
  std::vector<uint32_t> stale_;
  std::vector<uint32_t> touched_;
  // Who has read which block: inode, or 0 for the attribute block of that number.
  std::map<std::pair<uint64_t, uint32_t>, const uint8_t*> readers_;
  std::vector<bool> read_;  // blocks that were ever read: most changed blocks never are
  std::map<uint64_t, AttributeUse> attributes_;
  std::set<uint32_t> directories_;
  uint64_t charge_ = 0;

  std::set<uint32_t> wrong_;     // inodes whose own facts are not fine
  std::set<uint32_t> unjudged_;  // the same, of what is not handled
  std::map<uint64_t, Judgement> wrong_attributes_;
  std::map<uint32_t, Judgement> wrong_sums_;
  bool tree_changed_ = true;
  Judgement tree_;
  uint32_t walks_ = 0;
};

}  // namespace plugpull::ext4
