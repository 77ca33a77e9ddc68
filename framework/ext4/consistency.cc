// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/consistency.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "framework/ext4/consistency_books.h"
#include "framework/ext4/consistency_groups.h"
#include "framework/ext4/consistency_layout.h"

namespace plugpull::ext4 {
namespace {

ConsistencyVerdict VerdictOf(Judgement judged) {
  using Outcome = ConsistencyVerdict::Outcome;
  switch (judged.level) {
    case Judgement::Level::kFine:
      return {Outcome::kClean, {}};
    case Judgement::Level::kUnjudged:
      return {Outcome::kCannotJudge, std::move(judged.reason)};
    default:
      return {Outcome::kSuspect, std::move(judged.reason)};
  }
}

}  // namespace

struct ConsistencyChecker::Impl {
  explicit Impl(const image::CowImage& cow_image) : image(cow_image), view(cow_image) {}

  Judgement Judge(std::span<const uint64_t> changed) {
    PP_RETURN_UNLESS_FINE(LookAtSuperblock());
    if (!inodes) {
      PP_RETURN_UNLESS_FINE(Build());
    } else if (!LookAtChanges(changed)) {
      inodes.reset();
      PP_RETURN_UNLESS_FINE(Build());
    }
    inodes->Refresh([&](uint32_t inode) { return BytesOf(inode); });
    PP_RETURN_UNLESS_FINE(super.details);
    PP_RETURN_UNLESS_FINE(inodes->JudgeParts());
    if (!groups.Evaluate(view)) return groups.FirstProblem();
    return inodes->JudgeSums();
  }

  // Not fine: nothing can be said of the rest, and it is looked at anew the next time.
  Judgement LookAtSuperblock() {
    std::array<uint8_t, kSuperblockBytes> bytes;
    if (image.size_bytes() < kSuperblockAt + kSuperblockBytes) {
      return Problem("the image is too small for a superblock");
    }
    image.Read(kSuperblockAt, bytes);
    if (inodes && bytes == super_bytes) return Fine();
    super_bytes = bytes;
    SuperJudgement judged = JudgeSuperblock(bytes, image.size_bytes());
    if (!judged.layout.fine() || (inodes && !(judged.geometry == super.geometry))) inodes.reset();
    super = std::move(judged);
    return super.layout;
  }

  Judgement Build() {
    const Geometry& g = super.geometry;
    if (image.block_bytes() > (1U << 20) || image.block_bytes() * 64 < g.block_bytes) {
      return Unjudged("the image's blocks are too large or too small");
    }
    view.SetBlockBytes(g.block_bytes);
    groups.Reset(g);
    descriptors_seen.assign(g.descriptor_blocks, nullptr);
    for (uint32_t i = 0; i < g.descriptor_blocks; ++i) {
      const uint8_t* bytes = view.Block(g.first_block + 1ULL + i);
      descriptors_seen[i] = bytes;
      ForEachDescriptor(i, [&](uint32_t group, size_t at) {
        groups.SetDescriptor(group, ParseGroupDescriptor(g, group, bytes + at));
        return true;
      });
    }
    PP_RETURN_UNLESS_FINE(groups.ClaimTables());
    tables.clear();
    bitmaps.clear();
    tables_seen.assign(static_cast<size_t>(g.groups) * g.inode_table_blocks(), nullptr);
    inodes.emplace(g, view, groups);
    for (uint32_t group = 0; group < g.groups; ++group) {
      const GroupDescriptor& d = groups.descriptor(group);
      tables.push_back({d.inode_table, group});
      bitmaps.emplace(d.block_bitmap, group);
      bitmaps.emplace(d.inode_bitmap, group);
      MarkInodes(group, 0, std::max(Scanned(d), group == 0 ? kFirstInode - 1 : 0));
    }
    if (g.orphan_file != 0) inodes->MarkStale(g.orphan_file);
    std::sort(tables.begin(), tables.end(),
              [](const Table& a, const Table& b) { return a.first < b.first; });
    return Fine();
  }

  // Calls `each(group, offset)` for the descriptors in a block of them, until it says false.
  template <typename Each>
  bool ForEachDescriptor(uint32_t descriptor_block, const Each& each) const {
    const Geometry& g = super.geometry;
    const uint32_t per_block = g.block_bytes / g.descriptor_bytes;
    const uint32_t first = descriptor_block * per_block;
    for (uint32_t i = 0; i < per_block && first + i < g.groups; ++i) {
      if (!each(first + i, size_t{i} * g.descriptor_bytes)) return false;
    }
    return true;
  }

  // False when tables have moved, so that all must be read anew.
  bool LookAtChanges(std::span<const uint64_t> changed) {
    const uint64_t image_bytes = image.block_bytes();
    const uint64_t block_bytes = super.geometry.block_bytes;
    for (const uint64_t image_block : changed) {
      const uint64_t first = image_block * image_bytes / block_bytes;
      const uint64_t end =
          (image_block * image_bytes + image_bytes + block_bytes - 1) / block_bytes;
      for (uint64_t block = first; block < std::min(end, super.geometry.blocks); ++block) {
        if (!LookAtBlock(block)) return false;
      }
    }
    return true;
  }

  bool LookAtBlock(uint64_t block) {
    const Geometry& g = super.geometry;
    const uint64_t descriptor_block = block - g.first_block - 1;
    if (block > g.first_block && descriptor_block < g.descriptor_blocks &&
        !LookAtDescriptors(static_cast<uint32_t>(descriptor_block), view.Block(block))) {
      return false;
    }
    if (const auto bitmap = bitmaps.find(block); bitmap != bitmaps.end()) {
      groups.MarkDirty(bitmap->second);
    }
    LookAtTable(block);
    inodes->MarkReaders(block);
    return true;
  }

  bool LookAtDescriptors(uint32_t descriptor_block, const uint8_t* bytes) {
    if (descriptors_seen[descriptor_block] == bytes) return true;
    descriptors_seen[descriptor_block] = bytes;
    const Geometry& g = super.geometry;
    return ForEachDescriptor(descriptor_block, [&](uint32_t group, size_t at) {
      const GroupDescriptor now = ParseGroupDescriptor(g, group, bytes + at);
      const GroupDescriptor before = groups.descriptor(group);
      if (now == before) return true;
      if (now.block_bitmap != before.block_bitmap || now.inode_bitmap != before.inode_bitmap ||
          now.inode_table != before.inode_table) {
        return false;
      }
      groups.SetDescriptor(group, now);
      const uint32_t scanned = Scanned(now);
      const uint32_t scanned_before = Scanned(before);
      MarkInodes(group, std::min(scanned, scanned_before), std::max(scanned, scanned_before));
      return true;
    });
  }

  void LookAtTable(uint64_t block) {
    const Geometry& g = super.geometry;
    auto table = std::upper_bound(tables.begin(), tables.end(), block,
                                  [](uint64_t at, const Table& t) { return at < t.first; });
    if (table == tables.begin()) return;
    --table;
    if (block - table->first >= g.inode_table_blocks()) return;
    const auto in_table = static_cast<uint32_t>(block - table->first);
    const size_t slot = size_t{table->group} * g.inode_table_blocks() + in_table;
    const uint8_t* before = tables_seen[slot];
    if (before == nullptr) return;  // nothing of it was ever read
    const uint8_t* now = view.Block(block);
    if (before == now) return;
    tables_seen[slot] = now;
    for (uint32_t i = 0; i < g.inodes_per_block(); ++i) {
      const size_t at = size_t{i} * g.inode_bytes;
      if (std::memcmp(before + at, now + at, g.inode_bytes) == 0) continue;
      const uint32_t first = in_table * g.inodes_per_block() + i;
      MarkInodes(table->group, first, first + 1);
    }
  }

  // Of how many inodes of a group e2fsck looks at.
  uint32_t Scanned(const GroupDescriptor& d) const {
    const uint32_t inodes_in = super.geometry.inodes_per_group;
    return d.inodes_uninitialised() ? 0 : inodes_in - std::min(inodes_in, d.unused_inodes);
  }

  // Places in the group, from 0.
  void MarkInodes(uint32_t group, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; ++i) {
      inodes->MarkStale(group * super.geometry.inodes_per_group + i + 1);
    }
  }

  const uint8_t* BytesOf(uint32_t inode) {
    const Geometry& g = super.geometry;
    const uint32_t group = g.GroupOfInode(inode);
    const uint32_t place = (inode - 1) % g.inodes_per_group;
    const GroupDescriptor& d = groups.descriptor(group);
    const uint32_t in_table = place / g.inodes_per_block();
    const uint8_t*& seen = tables_seen[size_t{group} * g.inode_table_blocks() + in_table];
    seen = view.Block(d.inode_table + in_table);
    if (place >= Scanned(d)) return nullptr;
    return seen + size_t{place % g.inodes_per_block()} * g.inode_bytes;
  }

  struct Table {
    uint64_t first;
    uint32_t group;
  };
  const image::CowImage& image;
  BlockView view;
  std::array<uint8_t, kSuperblockBytes> super_bytes{};
  SuperJudgement super;
  GroupBooks groups;
  std::optional<InodeBooks> inodes;  // none: everything is to be read
  std::vector<const uint8_t*> descriptors_seen;
  std::vector<Table> tables;  // by first block
  std::vector<const uint8_t*> tables_seen;
  std::unordered_map<uint64_t, uint32_t> bitmaps;  // groups by block
};

ConsistencyChecker::ConsistencyChecker(const image::CowImage& image)
    : impl_(std::make_unique<Impl>(image)) {}
ConsistencyChecker::~ConsistencyChecker() = default;

ConsistencyVerdict ConsistencyChecker::Check(std::span<const uint64_t> changed) {
  return VerdictOf(impl_->Judge(changed));
}

ConsistencyVerdict CheckConsistency(std::span<const uint8_t> image) {
  constexpr uint32_t kBlockBytes = 4096;
  image::ContentStore store(kBlockBytes);
  const image::CowImage cow_image(image, store);
  return ConsistencyChecker(cow_image).Check({});
}

}  // namespace plugpull::ext4
