// SPDX-License-Identifier: Apache-2.0
#include "fuzz_seeds.h"

#include <zstd.h>

#include <optional>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"
#include "framework/blocklog/mark.h"
#include "framework/ext4/journal.h"
#include "journal_builder.h"
#include "klog_forms.h"
#include "tests/fuzz/hostile_image.h"

namespace plugpull::fuzz {
namespace {

constexpr uint32_t kBlock = 1024;

ext4::Image MakeFiles(const ext4::MkfsOptions& options) {
  ext4::Image image = ext4::MakeExt4(options);
  const std::string content(48 * 1024, 'x');
  std::vector<std::string> commands = {"write @input large", "write @input second",
                                       "mkdir d0",           "symlink link d0/small",
                                       "mkdir d0/sub",       "cd d0",
                                       "write @input small", "cd /"};
  // Holes make a tree of extents that does not fit the inode.
  for (int block = 1; block < 40; block += 3) {
    commands.push_back("punch large " + std::to_string(block) + " " + std::to_string(block));
  }
  ext4::Debugfs(image, commands, content);
  return image;
}

// Transactions that write what is there already, data that must be escaped, and revokes.
void AddTransactions(ext4::Image& image, const ext4::JournalFormat& format, bool near_end) {
  const auto layout = ext4::FindJournal(image);
  ASSERT_TRUE(layout.ok());
  ext4::JournalFormat placed = format;
  if (near_end) placed.start = static_cast<uint32_t>(layout->blocks.size()) - 5;
  const ext4::Image before = image;
  ext4::JournalBuilder builder(image, layout->blocks, kBlock, placed);
  const auto copy_of = [&](uint64_t block) {
    const auto at = before.begin() + static_cast<ptrdiff_t>(block * kBlock);
    return std::vector<uint8_t>(at, at + kBlock);
  };
  Prng prng(11);
  for (uint64_t number = 0; number < 5; ++number) {
    ext4::TransactionParts parts;
    parts.commit_seconds = 1000 + number;
    parts.commit = number < 4;
    for (uint64_t block = 2; block < 8; ++block) {
      if (prng.Chance(600)) parts.writes.emplace_back(block, copy_of(block));
    }
    std::vector<uint8_t> escaped(kBlock, 'e');
    const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
    std::copy(std::begin(magic), std::end(magic), escaped.begin());
    if (number % 2 == 0) parts.writes.emplace_back(3500 + number, escaped);
    if (number > 0) parts.revokes = {3500, 3500 + number};
    builder.Add(parts);
  }
  builder.Finish();
}

std::vector<uint8_t> Packed(const ext4::Image& image) {
  std::vector<uint8_t> packed(ZSTD_compressBound(image.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), image.data(), image.size(), 19));
  return packed;
}

NamedBytes NewImage(const std::string& name, const ext4::MkfsOptions& options,
                    const std::optional<ext4::JournalFormat>& format, bool near_end = false) {
  ext4::Image image = MakeFiles(options);
  if (format) AddTransactions(image, *format, near_end);
  return {name, Packed(image)};
}

void AddLogSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const std::string& name, uint8_t flags, std::vector<uint8_t> log) {
    log.insert(log.begin(), flags);
    seeds.push_back({"log_reader", name, std::move(log)});
  };
  for (const uint32_t sector : {512U, 1024U, 4096U}) {
    blocklog::LogWriter writer(sector);
    const std::vector<uint8_t> data(sector, 0x5a);
    writer.Write(Bytes(sector), data);
    writer.Flush();
    writer.Write(Bytes(0), data, blocklog::kFlagFua | blocklog::kFlagMetadata);
    writer.Discard(Bytes(sector), Bytes(8ULL * sector));
    writer.Mark("a mark");
    if (sector == 512) {
      for (const char* kind : {"base", "drain", "ack", "end"}) {
        const auto mark = blocklog::EncodeMark({kind, "0.1"});
        writer.Write(Bytes(1 << 20), mark, blocklog::kFlagFlush);
        writer.Flush();
      }
    }
    writer.Mark(blocklog::kTeardownMark);
    const std::string name = "sectors-" + std::to_string(sector);
    add(name, 0, writer.bytes());
    if (sector != 512) continue;
    add(name + "-strip", 2 | 4, writer.bytes());
    std::vector<uint8_t> more = writer.bytes();
    more[16] = 3;  // entries counted
    add(name + "-scan", 1, more);
    more.erase(more.end() - 300, more.end());
    add(name + "-cut", 1, more);
  }
}

void AddImageSeeds(size_t images, std::vector<Seed>& seeds) {
  for (uint8_t image = 0; image < images; ++image) {
    const std::string name = "image-" + std::to_string(image);
    seeds.push_back({"superblock", name, {image, 0}});
    seeds.push_back({"consistency", name, {image, 0}});
    seeds.push_back({"recovery", name, {image, kSealJournal}});
    // One step patches, the next does not.
    seeds.push_back({"recovery",
                     name + "-steps",
                     {image, kSealJournal, 3, 1, 14, 0, 1, 2, 3, 3, 0, 0x1c, 0, 1}});
    for (const uint8_t block : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
      seeds.push_back({"consistency",
                       name + "-block-" + std::to_string(block),
                       {image, kSealSuper, 0, block, 24, 0, 0x7f}});
    }
    seeds.push_back({"journal", name, {image, 0}});
    seeds.push_back({"journal", name + "-sealed", {image, kSealJournal | kSealSuper}});
    // The first block outside the journal is the superblock's (blocks of 1 KiB: after the boot
    // block, which is empty): one byte of a field each.
    for (const uint8_t field : {0x04, 0x14, 0x18, 0x20, 0x28, 0x4c, 0x58, 0x60, 0x64, 0xe0, 0xfe}) {
      seeds.push_back({"superblock",
                       name + "-field-" + std::to_string(field),
                       {image, kSealSuper, 0, 0, field, 0, 0xff}});
    }
    // Fields of the journal superblock, and of the blocks behind it.
    for (const uint8_t field : {0x0c, 0x10, 0x14, 0x18, 0x1c, 0x28}) {
      seeds.push_back({"journal",
                       name + "-field-" + std::to_string(field),
                       {image, kSealJournal, 3, 0, field, 0, 1}});
    }
    seeds.push_back({"journal", name + "-copy", {image, kSealJournal, 1, 2, 1}});
    seeds.push_back({"journal", name + "-hole", {image, kSealJournal, 2, 3}});
    seeds.push_back({"journal", name + "-tag", {image, kSealJournal, 3, 1, 14, 0, 0x7f}});
  }
}

void AddIdSeeds(std::vector<Seed>& seeds) {
  int number = 0;
  for (const char* text :
       {"vol:cache@1042", "vol:cache@1042-lose.1031.1040", "vol:lying@2210-keep.1500",
        "vol:cache@2210-sample.1f3a.500", "vol:cache.w64@2210-sample.7.100.64",
        "a:lying.w9.keep.mkfs@18446744073709551615-keep-older", "vol:cache@007-older"}) {
    const std::string_view view(text);
    seeds.push_back(
        {"crash_state_id", "id-" + std::to_string(number++), {view.begin(), view.end()}});
  }
}

// A short log that has something of everything, in every form, and a loop.
void AddIncidentSeeds(std::vector<Seed>& seeds) {
  const std::string log =
      "virtio-pci 0000:00:07.0: virtio_pci: leaving for legacy driver\n"
      "virtio_blk virtio4: [vdb] 2048 512-byte logical blocks (1.05 MB/1.00 MiB)\n"
      "EXT4-fs (vdb1): VFS: Can't find ext4 filesystem\n"
      "EXT4-fs (vdb1): barriers disabled\n"
      "EXT4-fs (vdb1): mounted filesystem with writeback data mode. Opts: noatime\n"
      "virtio-pci 0000:00:07.0: EDR: ACPI event 0x3 received\n";
  const std::string more =
      "EXT4-fs (dm-2): mounted filesystem 0f3b5a1e-9a57-4b50-8f0a-1d2c3b4a5968 r/w with ordered "
      "data mode. Quota mode: none.\n"
      "Aborting journal on device dm-2-8.\n"
      "EXT4-fs (dm-2): Remounting filesystem read-only\n"
      "I/O error, dev sdb, sector 8 op 0x1:(WRITE)\n"
      "sd 2:0:0:0: [sdb] 2048 512-byte logical blocks: (1.05 MB/1.00 MiB)\n"
      "sd 2:0:0:0: [sdb] Attached SCSI disk\n"
      "nvme nvme1: pci function 0000:00:1f.0\n"
      "XFS (nvme1n1): Mounting V5 Filesystem\nXFS (nvme1n1): Ending clean mount\n"
      "BTRFS error (device loop0): open_ctree failed\n"
      "EXT4-fs mount: 25 callbacks suppressed\n";
  int number = 0;
  const auto add = [&](const std::string& text) {
    seeds.push_back({"incident", "log-" + std::to_string(number++), {text.begin(), text.end()}});
  };
  for (const auto& [form, text] : AllForms(WithTimes(log, 20'000'000))) add(text);
  add(more);
  add(log + log + log + log + log + more);
  std::string failures;
  for (int i = 0; i < 6; ++i) {
    failures += "[" + std::to_string(10 * i) + ".500000] EXT4-fs (vdb): no journal found\n";
  }
  add(failures);
  add("{\"format\": \"plugpull incident signature\", \"version\": 1, \"filesystem\": \"ext4\", "
      "\"options\": [\"nobarrier\"], \"loop\": true, \"cycle\": [\"mounted\"], \"period_s\": 1.5, "
      "\"failures\": [], \"success_share\": 0.5, \"io_errors\": true, \"journal_errors\": false, "
      "\"filesystem_errors\": false}");
}

}  // namespace

std::vector<NamedBytes> MakeBaseImages() {
  ext4::MkfsOptions plain;
  plain.features =
      "none,has_journal,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super,large_file";
  ext4::MkfsOptions modern;
  modern.features = std::string(ext4::kFeatures) + ",orphan_file,metadata_csum_seed,inline_data";
  std::vector<NamedBytes> images;
  images.push_back(NewImage("checksum2.zst", {}, ext4::JournalFormat{.checksum = 2}));
  images.push_back(NewImage("checksum3-wrapped.zst", {}, ext4::JournalFormat{}, true));
  images.push_back(NewImage("clean.zst", {}, {}));
  images.push_back(NewImage("modern.zst", modern, ext4::JournalFormat{}));
  images.push_back(
      NewImage("no-checksums.zst", plain, ext4::JournalFormat{.checksum = 0, .wide = false}));
  images.push_back(NewImage("plain-clean.zst", plain, {}));
  return images;
}

std::vector<Seed> MakeSeeds(size_t images) {
  std::vector<Seed> seeds;
  AddLogSeeds(seeds);
  AddImageSeeds(images, seeds);
  AddIdSeeds(seeds);
  AddIncidentSeeds(seeds);
  return seeds;
}

}  // namespace plugpull::fuzz
