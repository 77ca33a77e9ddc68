// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/work_image.h"

#include <algorithm>
#include <cstring>

#include "framework/ext4/superblock.h"

namespace plugpull::oracle {
namespace {

constexpr uint64_t kPage = 4096;

// Byte ranges that do not count for a fingerprint, ascending and apart.
std::vector<ext4::ByteRange> MaskedRanges(std::span<const uint8_t> image,
                                          const ext4::JournalLayout& journal) {
  std::vector<ext4::ByteRange> ranges;
  const auto super = ext4::ParseSuperblock(image);
  if (!super.ok()) return ranges;
  ranges = ext4::CounterRanges(*super);
  const auto journal_super = ext4::ReadJournalSuper(image, journal);
  if (journal_super.ok() && journal_super->start == 0) {
    for (size_t i = 1; i < journal.blocks.size(); ++i) {
      const uint64_t at = journal.blocks[i] * journal.block_bytes;
      ranges.push_back({at, at + journal.block_bytes});
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.start < b.start; });
  return ranges;
}

void AddPages(std::vector<os::Extent>& extents, uint64_t start, uint64_t end, uint64_t limit) {
  extents.push_back(
      {Bytes(start / kPage * kPage), Bytes(std::min(limit, (end + kPage - 1) / kPage * kPage))});
}

// Sorted, and joined where they touch.
std::vector<os::Extent> Joined(std::vector<os::Extent> extents) {
  std::sort(extents.begin(), extents.end(),
            [](const os::Extent& a, const os::Extent& b) { return a.start < b.start; });
  std::vector<os::Extent> joined;
  for (const os::Extent& extent : extents) {
    if (!joined.empty() && extent.start <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, extent.end);
    } else {
      joined.push_back(extent);
    }
  }
  return joined;
}

}  // namespace

Result<WorkImage> WorkImage::Make(const image::BlockTable& table,
                                  const std::vector<os::Extent>& base_extents) {
  WorkImage work;
  work.table_ = &table;
  const Bytes size(table.base().size());
  PP_ASSIGN_OR_RETURN(work.fd_, os::MakeMemFile("plugpull-state", size));
  PP_ASSIGN_OR_RETURN(work.mapping_,
                      os::Mapping::Map(work.fd_.get(), size, os::Mapping::Mode::kReadWriteShared));
  for (const os::Extent& extent : base_extents) {
    const uint64_t end = std::min(extent.end.value, size.value);
    if (extent.start.value >= end) continue;
    std::memcpy(work.bytes().data() + extent.start.value, table.base().data() + extent.start.value,
                end - extent.start.value);
  }
  work.loaded_ = table.base_state();
  for (const os::Extent& extent : base_extents) {
    AddPages(work.own_extents_, extent.start.value, extent.end.value, size.value);
  }
  for (const uint64_t block : table.blocks()) {
    const uint64_t at = block * table.block_bytes();
    AddPages(work.own_extents_, at, at + table.block_bytes(), size.value);
  }
  work.own_extents_ = Joined(std::move(work.own_extents_));
  return work;
}

void WorkImage::WriteRank(size_t rank, image::ContentId content) {
  const auto bytes = table_->Content(content);
  std::memcpy(mapping_.mutable_bytes().data() + table_->blocks()[rank] * table_->block_bytes(),
              bytes.data(), bytes.size());
}

void WorkImage::RestorePage(uint64_t page) {
  const auto base = table_->base();
  const uint64_t start = page * kPage;
  const uint64_t end = std::min<uint64_t>(start + kPage, base.size());
  std::memcpy(bytes().data() + start, base.data() + start, end - start);
  const uint64_t block_bytes = table_->block_bytes();
  for (size_t rank = table_->RankAtOrAfter(start / block_bytes);
       rank < table_->blocks().size() && table_->blocks()[rank] * block_bytes < end; ++rank) {
    WriteRank(rank, loaded_[rank]);
  }
}

Status WorkImage::Load(const image::ImageState& state) {
  PP_CHECK(state.size() == loaded_.size());
  for (const uint64_t page : changed_pages_) RestorePage(page);
  changed_pages_.clear();
  for (size_t rank = 0; rank < state.size(); ++rank) {
    if (state[rank] != loaded_[rank]) WriteRank(rank, state[rank]);
  }
  loaded_ = state;
  return OkStatus();
}

bool WorkImage::PageChanged(uint64_t page, size_t first_rank, size_t end_rank) const {
  const uint8_t* now = mapping_.bytes().data();
  const uint64_t block_bytes = table_->block_bytes();
  uint64_t at = page * kPage;
  const uint64_t end = std::min<uint64_t>(at + kPage, mapping_.bytes().size());
  for (size_t rank = first_rank; rank < end_rank; ++rank) {
    const uint64_t block_at = table_->blocks()[rank] * block_bytes;
    if (std::memcmp(now + at, table_->base().data() + at, block_at - at) != 0) return true;
    if (std::memcmp(now + block_at, table_->Content(loaded_[rank]).data(), block_bytes) != 0)
      return true;
    at = block_at + block_bytes;
  }
  return std::memcmp(now + at, table_->base().data() + at, end - at) != 0;
}

Result<image::Fingerprint> WorkImage::Scan(const ext4::JournalLayout& journal) {
  const auto now = mapping_.bytes();
  const auto base = table_->base();
  const uint64_t block_bytes = table_->block_bytes();
  PP_ASSIGN_OR_RETURN(auto extents, os::DataExtents(fd_.get(), Bytes(now.size())));
  for (os::Extent& extent : extents) extent.start = Bytes(extent.start.value / kPage * kPage);
  // Others may have made holes where the state has data.
  extents.insert(extents.end(), own_extents_.begin(), own_extents_.end());
  extents = Joined(std::move(extents));
  const auto masked = MaskedRanges(now, journal);
  auto mask = masked.begin();
  image::FingerprintStream stream;
  stream.AddNumber(masked.size());  // what was masked in one image must not equal zeroes in another
  std::vector<uint64_t> changed;
  uint8_t page_now[kPage];
  uint8_t page_base[kPage];
  size_t rank = 0;
  for (const os::Extent& extent : extents) {
    for (uint64_t at = extent.start.value / kPage * kPage; at < extent.end.value; at += kPage) {
      const uint64_t size = std::min<uint64_t>(kPage, now.size() - at);
      while (rank < loaded_.size() && table_->blocks()[rank] * block_bytes < at) ++rank;
      size_t end_rank = rank;
      while (end_rank < loaded_.size() && table_->blocks()[end_rank] * block_bytes < at + size)
        ++end_rank;
      if (PageChanged(at / kPage, rank, end_rank)) changed.push_back(at / kPage);
      rank = end_rank;
      if (std::memcmp(now.data() + at, base.data() + at, size) == 0) continue;
      while (mask != masked.end() && mask->end <= at) ++mask;
      if (mask == masked.end() || mask->start >= at + size) {
        stream.AddNumber(at);
        stream.Add(now.subspan(at, size));
        continue;
      }
      std::memcpy(page_now, now.data() + at, size);
      std::memcpy(page_base, base.data() + at, size);
      for (auto it = mask; it != masked.end() && it->start < at + size; ++it) {
        const uint64_t start = std::max(it->start, at) - at;
        const uint64_t stop = std::min(it->end, at + size) - at;
        std::memset(page_now + start, 0, stop - start);
        std::memset(page_base + start, 0, stop - start);
      }
      if (std::memcmp(page_now, page_base, size) == 0) continue;
      stream.AddNumber(at);
      stream.Add({page_now, size});
    }
  }
  changed_pages_ = std::move(changed);
  return stream.Finish();
}

}  // namespace plugpull::oracle
