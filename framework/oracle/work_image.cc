// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/work_image.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <set>

#include "framework/base/check.h"

namespace plugpull::oracle {
namespace {

constexpr uint64_t kPage = 4096;

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

Result<WorkImage> WorkImage::Make(std::span<const uint8_t> base,
                                  const std::vector<os::Extent>& base_extents) {
  WorkImage work;
  work.base_ = base;
  const Bytes size(base.size());
  PP_ASSIGN_OR_RETURN(work.fd_, os::MakeMemFile("plugpull-state", size));
  PP_ASSIGN_OR_RETURN(work.mapping_,
                      os::Mapping::Map(work.fd_.get(), size, os::Mapping::Mode::kReadWriteShared));
  for (const os::Extent& extent : base_extents) {
    const uint64_t end = std::min(extent.end.value, size.value);
    if (extent.start.value >= end) continue;
    std::memcpy(work.bytes().data() + extent.start.value, base.data() + extent.start.value,
                end - extent.start.value);
    AddPages(work.base_extents_, extent.start.value, end, size.value);
  }
  return work;
}

// The last block may reach over the end of the disk.
void WorkImage::WriteBlock(uint64_t block, const uint8_t* bytes) {
  const uint64_t at = block * block_bytes_;
  std::memcpy(mapping_.mutable_bytes().data() + at, bytes,
              std::min(block_bytes_, base_.size() - at));
}

void WorkImage::RestorePage(uint64_t page) {
  const uint64_t start = page * kPage;
  const uint64_t end = std::min<uint64_t>(start + kPage, base_.size());
  std::memcpy(bytes().data() + start, base_.data() + start, end - start);
  if (loaded_.empty()) return;
  for (auto it = loaded_.lower_bound(start / block_bytes_);
       it != loaded_.end() && it->first * block_bytes_ < end; ++it) {
    WriteBlock(it->first, it->second);
  }
}

void WorkImage::Load(const image::CowImage& image) {
  PP_CHECK(image.size_bytes() == base_.size());
  PP_CHECK(loaded_.empty() || block_bytes_ == image.block_bytes());
  for (const uint64_t page : changed_pages_) RestorePage(page);
  changed_pages_.clear();
  block_bytes_ = image.block_bytes();
  auto next = loaded_.begin();
  const auto drop_before = [&](uint64_t block) {
    while (next != loaded_.end() && next->first < block) {
      WriteBlock(next->first, image.BaseBlock(next->first).data());
      next = loaded_.erase(next);
    }
  };
  image.ForEachDifference([&](uint64_t block, const image::Content& content) {
    drop_before(block);
    if (next != loaded_.end() && next->first == block) {
      if (next->second != content.bytes) WriteBlock(block, content.bytes);
      next->second = content.bytes;
      ++next;
      return;
    }
    WriteBlock(block, content.bytes);
    next = std::next(loaded_.emplace_hint(next, block, content.bytes));
  });
  drop_before(std::numeric_limits<uint64_t>::max());
}

bool WorkImage::PageChanged(uint64_t page) const {
  const uint8_t* now = mapping_.bytes().data();
  const uint64_t start = page * kPage;
  const uint64_t end = std::min<uint64_t>(start + kPage, base_.size());
  uint64_t at = start;
  if (!loaded_.empty()) {
    for (auto it = loaded_.lower_bound(start / block_bytes_);
         it != loaded_.end() && it->first * block_bytes_ < end; ++it) {
      // A block may begin before the page, or end behind it.
      const uint64_t block_at = it->first * block_bytes_;
      const uint64_t first = std::max(block_at, start);
      const uint64_t last = std::min(block_at + block_bytes_, end);
      if (std::memcmp(now + at, base_.data() + at, first - at) != 0) return true;
      if (std::memcmp(now + first, it->second + (first - block_at), last - first) != 0) return true;
      at = last;
    }
  }
  return std::memcmp(now + at, base_.data() + at, end - at) != 0;
}

Result<std::vector<os::Extent>> WorkImage::Held() const {
  const uint64_t size = base_.size();
  PP_ASSIGN_OR_RETURN(auto extents, os::DataExtents(fd_.get(), Bytes(size)));
  for (os::Extent& extent : extents) extent.start = Bytes(extent.start.value / kPage * kPage);
  // Others may have made holes where the image has data.
  extents.insert(extents.end(), base_extents_.begin(), base_extents_.end());
  for (const auto& [block, bytes] : loaded_) {
    AddPages(extents, block * block_bytes_, (block + 1) * block_bytes_, size);
  }
  return Joined(std::move(extents));
}

void WorkImage::Copy(const ext4::JournalLayout& journal) {
  if (!copy_) {
    store_ = std::make_unique<image::ContentStore>(static_cast<uint32_t>(block_bytes_));
    copy_ = std::make_unique<image::CowImage>(base_, *store_);
    fingerprint_ = std::make_unique<ext4::RecoveredFingerprint>(journal, *copy_);
    fingerprint_->Prepare(*copy_);
  }
  std::set<uint64_t> blocks;
  for (const auto& [block, bytes] : loaded_) blocks.insert(block);
  for (const uint64_t page : changed_pages_) {
    const uint64_t end = std::min<uint64_t>((page + 1) * kPage, base_.size());
    for (uint64_t block = page * kPage / block_bytes_; block * block_bytes_ < end; ++block) {
      blocks.insert(block);
    }
  }
  std::vector<uint64_t> gone;
  copy_->ForEachDifference([&](uint64_t block, const image::Content&) {
    if (!blocks.contains(block)) gone.push_back(block);
  });
  for (const uint64_t block : gone) copy_->Set(block, nullptr);
  std::vector<uint8_t> bytes(block_bytes_);
  for (const uint64_t block : blocks) {
    const uint64_t at = block * block_bytes_;
    const uint64_t size = std::min(block_bytes_, base_.size() - at);
    const auto now = mapping_.bytes().subspan(at, size);
    std::copy(now.begin(), now.end(), bytes.begin());
    std::fill(bytes.begin() + static_cast<ptrdiff_t>(size), bytes.end(), 0);
    copy_->SetCopy(block, bytes);
  }
  copy_->ClearChanges();
}

Result<image::Fingerprint> WorkImage::Scan(const ext4::JournalLayout& journal) {
  PP_CHECK(block_bytes_ != 0);
  PP_ASSIGN_OR_RETURN(const auto extents, Held());
  changed_pages_.clear();
  for (const os::Extent& extent : extents) {
    for (uint64_t page = extent.start.value / kPage; page * kPage < extent.end.value; ++page) {
      if (PageChanged(page)) changed_pages_.push_back(page);
    }
  }
  Copy(journal);
  return fingerprint_->Of(*copy_);
}

}  // namespace plugpull::oracle
