// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency_books.h"

#include <fmt/format.h>

#include <algorithm>

namespace plugpull::ext4 {
namespace {

const InodeFacts* IfFine(const InodeFacts* facts) {
  return facts != nullptr && facts->judgement.fine() ? facts : nullptr;
}

bool IsReserved(const Geometry& geometry, uint32_t inode) {
  return inode < kFirstInode || inode == geometry.orphan_file;
}

}  // namespace

InodeBooks::InodeBooks(const Geometry& geometry, BlockView& view, GroupBooks& groups)
    : g_(geometry),
      view_(view),
      groups_(groups),
      inodes_(geometry.inodes),
      read_(geometry.blocks) {}

void InodeBooks::MarkStale(uint32_t inode) {
  if (inodes_[inode].stale) return;
  inodes_[inode].stale = true;
  stale_.push_back(inode);
}

void InodeBooks::MarkReaders(uint64_t block) {
  if (!read_[block]) return;
  auto reader = readers_.lower_bound({block, 0});
  if (reader == readers_.end() || reader->first.first != block) return;
  const uint8_t* bytes = view_.Block(block);
  for (; reader != readers_.end() && reader->first.first == block; ++reader) {
    if (reader->second == bytes) continue;
    if (reader->first.second != 0) {
      MarkStale(reader->first.second);
      continue;
    }
    reader->second = bytes;
    attributes_[block].block = JudgeAttributeBlock(g_, block, bytes);
    JudgeAttributes(block);
  }
}

void InodeBooks::RefreshInode(uint32_t number, const uint8_t* bytes) {
  Inode& inode = inodes_[number];
  inode.stale = false;
  std::unique_ptr<InodeFacts> facts;
  if (bytes == nullptr) {
    if (IsReserved(g_, number)) {
      facts = std::make_unique<InodeFacts>();
      facts->judgement = Problem("lies in a part of the inode table that is not in use");
    }
  } else if (IsReserved(g_, number) || !IsBlankInode(bytes)) {
    facts = std::make_unique<InodeFacts>(ReadInode(g_, view_, number, bytes, inode.facts.get()));
  }
  Replace(number, std::move(facts));
}

void InodeBooks::Replace(uint32_t number, std::unique_ptr<InodeFacts> facts) {
  Inode& inode = inodes_[number];
  const InodeFacts* before = inode.facts.get();
  const InodeFacts* after = facts.get();
  charge_ += (after != nullptr ? after->charge : 0) - (before != nullptr ? before->charge : 0);
  wrong_.erase(number);
  unjudged_.erase(number);
  if (after != nullptr && !after->judgement.fine()) {
    const bool problem = after->judgement.level == Judgement::Level::kProblem;
    (problem ? wrong_ : unjudged_).insert(number);
  }
  ReplaceWatched(number, before, after);
  before = IfFine(before);
  after = IfFine(after);
  const bool was_used = before != nullptr && before->in_use;
  const bool is_used = after != nullptr && after->in_use;
  if (was_used != is_used || (is_used && before->directory != after->directory)) {
    if (was_used) groups_.SetInode(number, false, before->directory);
    if (is_used) groups_.SetInode(number, true, after->directory);
  }
  const std::vector<BlockRange> nothing;
  const auto& claimed = before != nullptr ? before->claims : nothing;
  const auto& claims = after != nullptr ? after->claims : nothing;
  if (claimed != claims) {
    for (const BlockRange& range : claimed) groups_.Release(range);
    for (const BlockRange& range : claims) groups_.Claim(range);
  }
  const uint64_t old_attributes = before != nullptr ? before->attribute_block : 0;
  const uint64_t attributes = after != nullptr ? after->attribute_block : 0;
  if (old_attributes != attributes) {
    if (old_attributes != 0) UseAttributes(old_attributes, false);
    if (attributes != 0) UseAttributes(attributes, true);
  }
  ReplaceDirectory(number, before, after);
  inode.facts = std::move(facts);
  Touch(number);
}

void InodeBooks::ReplaceWatched(uint32_t number, const InodeFacts* before,
                                const InodeFacts* after) {
  if (before != nullptr) {
    for (const Watched& watched : before->watched) readers_.erase({watched.block, number});
  }
  if (after != nullptr) {
    for (const Watched& watched : after->watched) {
      readers_.insert_or_assign({watched.block, number}, watched.bytes);
      read_[watched.block] = true;
    }
  }
}

void InodeBooks::ReplaceDirectory(uint32_t number, const InodeFacts* before,
                                  const InodeFacts* after) {
  const bool was_directory = before != nullptr && before->directory;
  const bool is_directory = after != nullptr && after->directory;
  if (was_directory != is_directory) {
    tree_changed_ = true;
    if (is_directory) {
      directories_.insert(number);
    } else {
      directories_.erase(number);
    }
  }
  const size_t old_blocks = before != nullptr ? before->directory_blocks.size() : 0;
  const size_t blocks = after != nullptr ? after->directory_blocks.size() : 0;
  for (size_t i = 0; i < std::max(old_blocks, blocks); ++i) {
    const DirectoryBlock* old = i < old_blocks ? before->directory_blocks[i].get() : nullptr;
    const DirectoryBlock* now = i < blocks ? after->directory_blocks[i].get() : nullptr;
    if (old == now) continue;
    if (old != nullptr) CountEntries(number, *old, false);
    if (now != nullptr) CountEntries(number, *now, true);
  }
}

void InodeBooks::CountEntries(uint32_t directory, const DirectoryBlock& block, bool add) {
  const uint32_t one = add ? 1 : ~0U;
  for (const DirectoryEntry& entry : block.entries) {
    Inode& inode = inodes_[entry.inode];
    inode.references += one;
    inode.references_by_type[entry.type] += one;
    if (!entry.dot) {
      inode.names += one;
      inode.name_holders += add ? directory : ~static_cast<uint64_t>(directory) + 1;
    }
    Touch(entry.inode);
  }
}

void InodeBooks::UseAttributes(uint64_t block, bool add) {
  AttributeUse& use = attributes_[block];
  if (add && use.inodes++ == 0) {
    use.bytes = view_.Block(block);
    use.block = JudgeAttributeBlock(g_, block, use.bytes);
    readers_.insert_or_assign({block, 0U}, use.bytes);
    read_[block] = true;
    groups_.Claim({block, 1});
  } else if (!add && --use.inodes == 0) {
    attributes_.erase(block);
    readers_.erase({block, 0U});
    wrong_attributes_.erase(block);
    groups_.Release({block, 1});
    return;
  }
  JudgeAttributes(block);
}

void InodeBooks::JudgeAttributes(uint64_t block) {
  const AttributeUse& use = attributes_[block];
  if (!use.block.judgement.fine()) {
    wrong_attributes_[block] = use.block.judgement;
  } else if (use.block.references != use.inodes) {
    wrong_attributes_[block] = Problem(fmt::format("attribute block {}: {} references, counted {}",
                                                   block, use.block.references, use.inodes));
  } else {
    wrong_attributes_.erase(block);
  }
}

void InodeBooks::Touch(uint32_t inode) {
  if (inodes_[inode].touched) return;
  inodes_[inode].touched = true;
  touched_.push_back(inode);
}

Judgement InodeBooks::JudgeParts() {
  if (saturated()) return Problem("more blocks are claimed than the file system has");
  if (!wrong_.empty()) {
    const uint32_t number = *wrong_.begin();
    return Problem(fmt::format("inode {}: {}", number, inodes_[number].facts->judgement.reason));
  }
  if (!unjudged_.empty()) {
    const uint32_t number = *unjudged_.begin();
    return Unjudged(fmt::format("inode {}: {}", number, inodes_[number].facts->judgement.reason));
  }
  return wrong_attributes_.empty() ? Fine() : wrong_attributes_.begin()->second;
}

Judgement InodeBooks::JudgeSums() {
  for (const uint32_t number : touched_) {
    inodes_[number].touched = false;
    Judgement judged = JudgeTouched(number);
    if (judged.fine()) {
      wrong_sums_.erase(number);
    } else {
      wrong_sums_[number] = std::move(judged);
    }
  }
  touched_.clear();
  if (!wrong_sums_.empty()) return wrong_sums_.begin()->second;
  if (tree_changed_) tree_ = JudgeTree();
  tree_changed_ = false;
  return tree_;
}

Judgement InodeBooks::JudgeTouched(uint32_t number) {
  Inode& inode = inodes_[number];
  const InodeFacts* facts = inode.facts.get();
  if (facts == nullptr || !facts->in_use || facts->hidden) {
    if (inode.references == 0) return Fine();
    return Problem(fmt::format("inode {}: unused, with {} names", number, inode.references));
  }
  if (facts->links != inode.references) {
    return Problem(
        fmt::format("inode {}: {} links, counted {}", number, facts->links, inode.references));
  }
  if (inode.references_by_type[g_.file_types() ? facts->type : 0] != inode.references) {
    return Problem(fmt::format("inode {}: a name gives another file type", number));
  }
  if (!facts->directory) return Fine();
  // From here on e2fsck expects another count.
  constexpr uint32_t kLinksMax = 65000;
  if (facts->links > kLinksMax) {
    return Unjudged(fmt::format("inode {}: a directory with {} links", number, facts->links));
  }
  uint64_t parent = kRootInode;
  if (number == kRootInode) {
    if (inode.names != 0) return Problem("the root has a name");
  } else if (inode.names != 1) {
    return Problem(fmt::format("inode {}: a directory with {} names", number, inode.names));
  } else {
    parent = inode.name_holders;
  }
  if (inode.parent != parent) {
    inode.parent = static_cast<uint32_t>(parent);
    tree_changed_ = true;
  }
  const uint32_t said = facts->directory_blocks[0]->parent;
  if (said == parent) return Fine();
  return Problem(fmt::format("inode {}: '..' is {}, its directory is {}", number, said, parent));
}

Judgement InodeBooks::JudgeTree() {
  constexpr size_t kDepthMax = 2000;  // where e2fsck begins to look for loops
  const uint32_t begun = 2 * ++walks_;
  const uint32_t ended = begun + 1;
  inodes_[kRootInode].walk = ended;
  std::vector<uint32_t> path;
  for (const uint32_t directory : directories_) {
    path.clear();
    uint32_t at = directory;
    while (inodes_[at].walk != ended) {
      if (inodes_[at].walk == begun) {
        return Problem(fmt::format("inode {}: a directory in a loop", at));
      }
      inodes_[at].walk = begun;
      path.push_back(at);
      at = inodes_[at].parent;
    }
    if (path.size() > kDepthMax) return Unjudged("very deep directories");
    for (const uint32_t passed : path) inodes_[passed].walk = ended;
  }
  return Fine();
}

}  // namespace plugpull::ext4
