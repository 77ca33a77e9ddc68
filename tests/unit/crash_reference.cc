// SPDX-License-Identifier: Apache-2.0
#include "crash_reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "framework/blocklog/format.h"
#include "framework/blocklog/mark.h"

namespace plugpull::crashstate {
namespace {

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Sectors that differ from all others of the history, but for a few that are zero or repeated.
std::string RandomBytes(Prng& prng, size_t sectors, size_t event) {
  std::string bytes;
  for (size_t i = 0; i < sectors; ++i) {
    const uint64_t choice = prng.Below(10);
    const char fill = choice == 0 ? '\0' : choice == 1 ? 'r' : static_cast<char>(0x80 + event);
    bytes += std::string(511, fill) + static_cast<char>(choice < 2 ? fill : 'a' + i);
  }
  return bytes;
}

Told RandomWrite(Prng& prng, const RandomOptions& options, size_t event) {
  Told told;
  told.kind = Told::Kind::kWrite;
  told.first_sector = prng.Below(kTestSectors);
  told.sectors = 1 + prng.Below(std::min<size_t>(3, kTestSectors - told.first_sector));
  told.bytes = RandomBytes(prng, told.sectors, event);
  told.flush_first = prng.Chance(options.flush_permille / 2);
  told.fua = prng.Chance(options.fua_permille);
  return told;
}

Told RandomTold(Prng& prng, const RandomOptions& options, size_t event) {
  Told told;
  if (prng.Chance(options.flush_permille)) {
    told.kind = Told::Kind::kFlush;
  } else if (prng.Chance(100)) {
    told.kind = Told::Kind::kMark;
  } else if (prng.Chance(150)) {
    told.kind = Told::Kind::kDiscard;
    told.first_sector = prng.Below(kTestSectors);
    told.sectors = 1 + prng.Below(kTestSectors - told.first_sector);
  } else {
    told = RandomWrite(prng, options, event);
  }
  return told;
}

void Append(blocklog::LogWriter& writer, const Told& told) {
  const Bytes at(told.first_sector * 512);
  switch (told.kind) {
    case Told::Kind::kFlush:
      return writer.Flush();
    case Told::Kind::kMark:
      return writer.Mark("a mark");
    case Told::Kind::kDiscard:
      return writer.Discard(at, Bytes(told.sectors * 512));
    case Told::Kind::kWrite:
      return writer.Write(
          at, AsBytes(told.bytes),
          (told.flush_first ? blocklog::kFlagFlush : 0) | (told.fua ? blocklog::kFlagFua : 0));
  }
}

void AppendBaseMark(blocklog::LogWriter& writer) {
  writer.Write(Bytes(kTestDiskBytes), blocklog::EncodeMark({"base", ""}));
}

}  // namespace

RandomDisk::RandomDisk(uint64_t seed, const RandomOptions& options) {
  Prng prng(DeriveSeed(seed, "random disk"));
  for (size_t i = 0; i < kTestSectors; ++i) {
    first_image += std::string(512, prng.Chance(500) ? '\0' : static_cast<char>('A' + i));
  }
  const size_t events = prng.Between(options.events_min, options.events_max);
  const size_t base_mark_at = options.base_mark ? prng.Below(std::min<size_t>(events, 4)) : events;
  for (size_t i = 0; i < events; ++i) {
    if (i == base_mark_at) {
      AppendBaseMark(writer);
      told.emplace_back();
      base = told.size();
    }
    told.push_back(RandomTold(prng, options, i));
    Append(writer, told.back());
  }
  auto read = blocklog::ReadLog(writer.bytes(), {});
  EXPECT_TRUE(read.ok());
  log = *std::move(read);
  auto made = blocklog::MakeHistory(log, {Bytes(kTestDiskBytes), Bytes(2048)});
  EXPECT_TRUE(made.ok());
  history = *std::move(made);
  EXPECT_EQ(history.events.size(), told.size());
  EXPECT_EQ(history.base, base);
}

TestSpace::TestSpace(const RandomDisk& disk, const DeviceModel& model, uint32_t block_bytes)
    : history(disk.history), base(disk.first_image) {
  EXPECT_TRUE(ChooseBase(history, model, true).ok());
  FoldBase(history, {reinterpret_cast<uint8_t*>(base.data()), base.size()}, model.discard_keeps);
  auto made = CrashSpace::Make(history, AsBytes(base), model, "vol", block_bytes);
  EXPECT_TRUE(made.ok());
  space = *std::move(made);
}

std::string BytesOf(const image::CowImage& image) {
  std::string bytes(image.size_bytes(), '\0');
  image.Read(0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return bytes;
}

std::string BytesOf(const CrashSpace& space, size_t cut, const std::vector<size_t>& lost,
                    bool overlapping_older) {
  StateCursor cursor(space);
  cursor.MoveTo(cut, lost, overlapping_older);
  return BytesOf(cursor.image());
}

std::string BytesOf(const CrashSpace& space, size_t cut, const Selection& selection,
                    bool overlapping_older) {
  StateCursor cursor(space);
  cursor.MoveToSelection(cut, selection, overlapping_older);
  return BytesOf(cursor.image());
}

Reference::Reference(const RandomDisk& disk, const DeviceModel& model)
    : disk_(disk), model_(model), base_(model.from_mkfs ? 0 : disk.base) {}

size_t Reference::LastFlush(size_t cut) const {
  for (size_t i = cut; i-- > base_;) {
    const Told& told = disk_.told[i];
    if (!model_.lying && (told.kind == Told::Kind::kFlush || told.flush_first)) return i;
  }
  return base_;
}

std::vector<size_t> Reference::Volatile(size_t cut) const {
  std::vector<size_t> events;
  for (size_t i = LastFlush(cut); i < cut; ++i) {
    const Told& told = disk_.told[i];
    const bool forced = told.fua && !model_.lying;
    const bool write = told.kind == Told::Kind::kWrite && !forced;
    const bool discard = told.kind == Told::Kind::kDiscard && !model_.discard_keeps;
    if (write || discard) events.push_back(i);
  }
  while (model_.window != 0 && events.size() > model_.window) events.erase(events.begin());
  return events;
}

std::string Reference::Image(size_t cut, const std::set<size_t>& lost, bool forced_last) const {
  // The order in which things reached the medium.
  std::vector<size_t> order;
  std::vector<size_t> forced;
  const auto end_segment = [&] {
    order.insert(order.end(), forced.begin(), forced.end());
    forced.clear();
  };
  for (size_t i = 0; i < cut; ++i) {
    const Told& told = disk_.told[i];
    if (i == base_ || told.kind == Told::Kind::kFlush || told.flush_first) end_segment();
    const bool last = forced_last && told.fua && i >= base_;
    (last ? forced : order).push_back(i);
  }
  end_segment();
  std::string image = disk_.first_image;
  for (const size_t i : order) {
    const Told& told = disk_.told[i];
    if (lost.contains(i)) continue;
    if (told.kind == Told::Kind::kWrite) {
      image.replace(told.first_sector * 512, told.bytes.size(), told.bytes);
    } else if (told.kind == Told::Kind::kDiscard && !model_.discard_keeps) {
      image.replace(told.first_sector * 512, told.sectors * 512, told.sectors * 512, '\0');
    }
  }
  return image;
}

std::set<std::string> Reference::Images(size_t cut, bool lossy) const {
  std::set<std::string> images;
  for (const auto& lost : Subsets(Volatile(cut))) {
    if (lossy && lost.empty()) continue;
    images.insert(Image(cut, lost, false));
    images.insert(Image(cut, lost, true));
  }
  return images;
}

std::vector<std::set<size_t>> Subsets(const std::vector<size_t>& all) {
  std::vector<std::set<size_t>> subsets = {{}};
  for (const size_t item : all) {
    const size_t count = subsets.size();
    for (size_t i = 0; i < count; ++i) {
      subsets.push_back(subsets[i]);
      subsets.back().insert(item);
    }
  }
  return subsets;
}

}  // namespace plugpull::crashstate
