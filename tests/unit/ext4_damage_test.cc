// SPDX-License-Identifier: Apache-2.0
// On-purpose damage, judged by e2fsprogs and libblkid; and by its own list of what it wrote: put
// back, it must give the image of before.
#include <ext2fs/ext2fs.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include <cstring>

#include "ext4_tools.h"
#include "framework/base/prng.h"
#include "framework/ext4/damage.h"
#include "framework/ext4/file_system.h"
#include "framework/ext4/superblock.h"
#include "framework/ext4/superblock_fields.h"

namespace plugpull::ext4 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CorruptStep Step(const std::string& text) {
  CorruptStep step;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("disk: 'vol' " + text, &step)) << text;
  return step;
}

Result<std::vector<DamagePiece>> Apply(const std::string& text, Image& image) {
  MemoryTarget target(image);
  return ApplyDamage(Step(text), target);
}

// Applies it, and checks that the pieces are all that changed.
std::vector<DamagePiece> Damaged(const std::string& text, Image& image) {
  const Image before = image;
  const auto pieces = Apply(text, image);
  EXPECT_TRUE(pieces.ok()) << text << ": " << pieces.error().ToString();
  if (!pieces.ok()) return {};
  Image undone = image;
  for (auto piece = pieces->rbegin(); piece != pieces->rend(); ++piece) {
    EXPECT_EQ(piece->before.size(), piece->after.size());
    EXPECT_TRUE(std::equal(piece->after.begin(), piece->after.end(),
                           image.begin() + static_cast<ptrdiff_t>(piece->offset)));
    std::ranges::copy(piece->before, undone.begin() + static_cast<ptrdiff_t>(piece->offset));
  }
  EXPECT_TRUE(undone == before) << text << ": something else was written";
  return *pieces;
}

// A refusal leaves everything as it was.
std::string Refusal(const std::string& text, Image& image) {
  const Image before = image;
  const auto pieces = Apply(text, image);
  EXPECT_FALSE(pieces.ok()) << text;
  EXPECT_TRUE(image == before) << text;
  if (pieces.ok()) return "";
  EXPECT_EQ(pieces.error().code, ErrorCode::kUser) << pieces.error().ToString();
  return pieces.error().message;
}

Image Populated(const MkfsOptions& options) {
  Image image = MakeExt4(options);
  std::vector<std::string> commands = {"mkdir d1", "mkdir d1/inner"};
  for (int i = 0; i < 20; ++i) commands.push_back(fmt::format("write @input d1/f{}", i));
  for (int i = 0; i < 20; i += 2) commands.push_back(fmt::format("rm d1/f{}", i));
  Debugfs(image, commands, std::string(5000, 'x'));
  Debugfs(image, {"write @input d1/inner/pieces", "symlink d1/link f1"}, std::string(60'000, 'p'));
  return image;
}

struct Shape {
  std::string name;
  MkfsOptions options;
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

std::vector<Shape> Shapes() {
  return {
      {"modern", {}},
      {"blocks_of_4096", {.block_bytes = "4096", .mib = 16, .more = {"-J", "size=4"}}},
      {"groups", {.mib = 12, .more = {"-J", "size=1", "-g", "1024"}}},
      {"indirect", {.features = "none,has_journal,filetype,sparse_super,large_file,resize_inode"}},
  };
}

class DamageShapeTest : public ::testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, DamageShapeTest, ::testing::ValuesIn(Shapes()),
                         [](const auto& shape) { return shape.param.name; });

TEST_P(DamageShapeTest, EveryNameDamagesAndTellsAllThatItWrote) {
  const Image good = Populated(GetParam().options);
  const auto* names = Damage_descriptor();
  for (int i = 0; i < names->value_count(); ++i) {
    const std::string& name = names->value(i)->name();
    if (name == "DAMAGE_UNSPECIFIED") continue;
    SCOPED_TRACE(name);
    Image image = good;
    const auto pieces = Damaged("damage: " + name, image);
    ASSERT_FALSE(pieces.empty());
    if (name == "FIRST_1K_ZEROED") {
      EXPECT_TRUE(image == good);  // mke2fs leaves zeroes there
      continue;
    }
    EXPECT_FALSE(image == good);
    // Doing it again would change nothing, except for the bit that is inverted.
    if (name == "SUPERBLOCK_CHECKSUM" || name.starts_with("FIRST_")) continue;
    (void)Refusal("damage: " + name, image);
  }
}

// What debugfs shows of the inodes and e2fsck of the structure says that the right blocks were hit.
TEST_P(DamageShapeTest, ZappedFilesReadAsZeroesAndNothingElseDoes) {
  Image image = Populated(GetParam().options);
  Damaged("zap_inode_blocks { path: '/d1/inner/pieces' }", image);
  EXPECT_EQ(E2fsck(image, {"-fn"}).status, 0);  // file data has no checksum
  auto fs = FileSystem::Open(std::span<const uint8_t>(image));
  ASSERT_TRUE(fs.ok());
  const auto node = fs->Lookup("d1/inner/pieces");
  ASSERT_TRUE(node.ok() && node->has_value());
  ASSERT_EQ((*node)->size_bytes, 60'000u);
  std::vector<uint8_t> bytes(60'000, 1);
  ASSERT_TRUE(fs->Read((*node)->inode, 0, bytes).ok());
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 0), 60'000);
  const auto other = fs->Lookup("d1/f1");
  ASSERT_TRUE(other.ok() && other->has_value());
  bytes.assign(5000, 0);
  ASSERT_TRUE(fs->Read((*other)->inode, 0, bytes).ok());
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 'x'), 5000);
  // By number it is the same; it is zeroes already.
  EXPECT_THAT(Refusal(fmt::format("zap_inode_blocks {{ inode: {} }}", (*node)->inode), image),
              HasSubstr("changes nothing"));
}

TEST_P(DamageShapeTest, StructuresAreWhereE2fsprogsSeesThem) {
  const Image good = Populated(GetParam().options);
  Image image = good;
  Damaged("damage: JOURNAL_INODE_CLEARED", image);
  EXPECT_THAT(RunTool("debugfs", {"-R", "stat <8>", "@image"}, image).out,
              HasSubstr("Type: bad type"));
  image = good;
  Damaged("damage: ROOT_INODE_CLEARED", image);
  EXPECT_THAT(RunTool("debugfs", {"-R", "stat <2>", "@image"}, image).out,
              HasSubstr("Type: bad type"));
  image = good;
  Damaged("damage: JOURNAL_SUPERBLOCK_ZEROED", image);
  EXPECT_THAT(RunTool("debugfs", {"-R", "logdump", "@image"}, image).out,
              ::testing::Not(HasSubstr("Journal starts at block")));
  image = good;
  Damaged("damage: INODE_BITMAP_ZEROED", image);
  EXPECT_THAT(E2fsck(image, {"-fn"}).out, HasSubstr("Inode bitmap differences"));
  image = good;
  const auto pieces = Damaged("damage: BLOCK_BITMAP_ZEROED", image);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(E2fsck(image, {"-fn"}).status, 4);
}

TEST(DamageTest, OffsetsAreThoseOfTheDisk) {
  const Image good = MakeExt4();
  Image image = good;
  auto pieces = Damaged("damage: MAGIC_ZEROED", image);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].offset, 1080u);
  EXPECT_THAT(pieces[0].before, ElementsAre(0x53, 0xef));
  image = good;
  pieces = Damaged("damage: SUPERBLOCK_CHECKSUM", image);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces[0].offset, 2044u);
  image = good;
  pieces = Damaged("damage: UNKNOWN_INCOMPAT", image);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].offset, 1120u);
  EXPECT_EQ(pieces[1].offset, 2044u);
  const auto super = ParseSuperblock(image);
  ASSERT_TRUE(super.ok());
  EXPECT_TRUE(super->checksum_valid);
  EXPECT_NE(super->feature_incompat & 0x80000U, 0u);
}

TEST(DamageTest, FieldsAreSetWithAndWithoutAChecksum) {
  const Image good = MakeExt4();
  Image image = good;
  Damaged("superblock_field { field: 's_state' value: 2 }", image);
  EXPECT_THAT(RunTool("dumpe2fs", {"-h", "@image"}, image).out, HasSubstr("not clean with errors"));
  EXPECT_TRUE(ParseSuperblock(image)->checksum_valid);
  image = good;
  Damaged("superblock_field { field: 's_volume_name' bytes: 'broken' fix_checksum: false }", image);
  EXPECT_FALSE(ParseSuperblock(image)->checksum_valid);
  Damaged("superblock_field { field: 's_volume_name' bytes: 'bro' }", image);
  EXPECT_TRUE(ParseSuperblock(image)->checksum_valid);
  EXPECT_THAT(RunTool("dumpe2fs", {"-h", "@image"}, image).out,
              ::testing::ContainsRegex("volume name: +bro\n"));
  EXPECT_THAT(Refusal("superblock_field { field: 's_bogus' value: 1 }", image),
              HasSubstr("no field s_bogus"));
  EXPECT_THAT(Refusal("superblock_field { field: 's_state' value: 65536 }", image),
              HasSubstr("cannot hold the number 65536"));
  EXPECT_THAT(Refusal("superblock_field { field: 's_uuid' value: 1 }", image),
              HasSubstr("16 bytes"));
  EXPECT_THAT(Refusal("superblock_field { field: 's_state' bytes: 'abc' }", image),
              HasSubstr("3 are given"));
}

// The names are the kernel's, the structure is e2fsprogs's.
TEST(DamageTest, FieldsCoverTheSuperblock) {
  size_t end = 0;
  for (const SuperblockField& field : SuperblockFields()) {
    EXPECT_EQ(field.offset, end) << field.name;
    end = field.offset + size_t{field.bytes};
  }
  EXPECT_EQ(end, sizeof(ext2_super_block));
#define PP_EXPECT_FIELD(field)                                                       \
  ASSERT_NE(FindSuperblockField(#field), nullptr);                                   \
  EXPECT_EQ(FindSuperblockField(#field)->offset, offsetof(ext2_super_block, field)); \
  EXPECT_EQ(FindSuperblockField(#field)->bytes, sizeof(ext2_super_block::field)) << #field
  PP_EXPECT_FIELD(s_first_data_block);
  PP_EXPECT_FIELD(s_max_mnt_count);
  PP_EXPECT_FIELD(s_def_resgid);
  PP_EXPECT_FIELD(s_last_mounted);
  PP_EXPECT_FIELD(s_reserved_gdt_blocks);
  PP_EXPECT_FIELD(s_hash_seed);
  PP_EXPECT_FIELD(s_jnl_blocks);
  PP_EXPECT_FIELD(s_want_extra_isize);
  PP_EXPECT_FIELD(s_mmp_block);
  PP_EXPECT_FIELD(s_kbytes_written);
  PP_EXPECT_FIELD(s_first_error_func);
  PP_EXPECT_FIELD(s_last_error_block);
  PP_EXPECT_FIELD(s_backup_bgs);
  PP_EXPECT_FIELD(s_encrypt_pw_salt);
  PP_EXPECT_FIELD(s_checksum_seed);
  PP_EXPECT_FIELD(s_last_error_errcode);
  PP_EXPECT_FIELD(s_encoding_flags);
  PP_EXPECT_FIELD(s_orphan_file_inum);
  PP_EXPECT_FIELD(s_checksum);
#undef PP_EXPECT_FIELD
}

TEST(DamageTest, BackupsAreThoseThatE2fsckFinds) {
  const Image good = MakeExt4({.mib = 12, .more = {"-J", "size=1", "-g", "1024"}});
  Image image = good;
  Damaged("damage: FIRST_2K_ZEROED", image);
  Image backup = image;
  EXPECT_EQ(E2fsck(backup, {"-fy", "-b", "1025", "-B", "1024"}).status & ~3, 0);
  // Groups 1, 3, 5, 7 and 9 of 12.
  image = good;
  EXPECT_EQ(Damaged("backup_superblocks {}", image).size(), 5u);
  Damaged("damage: FIRST_2K_ZEROED", image);
  for (const char* block : {"1025", "3073", "5121", "7169", "9217"}) {
    backup = image;
    EXPECT_EQ(E2fsck(backup, {"-fn", "-b", block, "-B", "1024"}).status & 8, 8) << block;
  }
  image = good;
  const auto one = Damaged("backup_superblocks { group: 3 }", image);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].offset, 3073u * 1024);
  EXPECT_THAT(Refusal("backup_superblocks { group: 2 }", image),
              HasSubstr("those that have: 1, 3, 5, 7, 9"));
  Image small = MakeExt4();
  EXPECT_THAT(Refusal("backup_superblocks {}", small), HasSubstr("one block group only"));
}

TEST(DamageTest, SignaturesAreTakenForWhatTheySay) {
  const auto blkid = [](Image& image) {
    return RunTool("blkid", {"-p", "-o", "export", "@image"}, image).out;
  };
  const auto signed_blank = [&](const std::string& name) {
    Image image(8 << 20);
    Damaged("damage: SIGNATURE_" + name, image);
    return blkid(image);
  };
  EXPECT_THAT(signed_blank("MBR"), HasSubstr("PTTYPE=dos"));
  EXPECT_THAT(signed_blank("GPT"), HasSubstr("PTTYPE=gpt"));
  EXPECT_THAT(signed_blank("LUKS"), HasSubstr("TYPE=crypto_LUKS"));
  EXPECT_THAT(signed_blank("XFS"), HasSubstr("TYPE=xfs"));
  Image small(1 << 20);
  EXPECT_THAT(Refusal("damage: SIGNATURE_GPT", small), HasSubstr("at least 4194304"));
}

TEST(DamageTest, OneBitAnywhereComesFromTheSeed) {
  const Image good = MakeExt4();
  std::set<uint64_t> offsets;
  for (int seed = 1; seed <= 20; ++seed) {
    Image image = good;
    Image again = good;
    const auto pieces = Damaged(fmt::format("flip_bit {{ seed: {} }}", seed), image);
    Damaged(fmt::format("flip_bit {{ seed: {} }}", seed), again);
    EXPECT_TRUE(image == again);
    ASSERT_EQ(pieces.size(), 1u);
    ASSERT_EQ(pieces[0].before.size(), 1u);
    EXPECT_EQ(std::popcount(static_cast<unsigned>(pieces[0].before[0] ^ pieces[0].after[0])), 1);
    offsets.insert(pieces[0].offset);
  }
  EXPECT_GT(offsets.size(), 15u);
  Image image = good;
  const auto pieces = Damaged("flip_bit { offset: 1080 bit: 3 }", image);
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_THAT(pieces[0].after, ElementsAre(0x53 ^ 8));
  EXPECT_THAT(Refusal("flip_bit { offset: 4194304 }", image), HasSubstr("has 4194304 bytes"));
}

TEST(DamageTest, RawBytesAreWrittenAsTheyAre) {
  Image image(4096);
  EXPECT_EQ(Damaged("raw { offset: 10 bytes: 'ab\\x00\\xff' repeat: 3 }", image).size(), 1u);
  EXPECT_EQ(std::memcmp(image.data() + 10,
                        "ab\0\xff"
                        "ab\0\xff"
                        "ab\0\xff",
                        12),
            0);
  EXPECT_THAT(Refusal("raw { offset: 4096 bytes: 'a' }", image), HasSubstr("past the end"));
  EXPECT_THAT(Refusal("raw { offset: 18446744073709551615 bytes: 'ab' }", image),
              HasSubstr("past the end"));
  EXPECT_THAT(Refusal("raw { offset: 0 bytes: 'ab' repeat: 67108864 }", image),
              HasSubstr("allowed are 1 to 67108864"));
  EXPECT_THAT(Refusal("raw { offset: 0 bytes: '' }", image), HasSubstr("0 bytes"));
  EXPECT_THAT(Refusal("raw { offset: 100 bytes: '\\x00' }", image), HasSubstr("changes nothing"));
  EXPECT_THAT(Refusal("", image), HasSubstr("nothing to damage"));
}

TEST(DamageTest, WhatIsNotThereCannotBeDamaged) {
  Image blank(4 << 20);
  EXPECT_THAT(Refusal("damage: MAGIC_ZEROED", blank), HasSubstr("no ext4 file system"));
  EXPECT_THAT(Refusal("damage: FIRST_1M_ZEROED", blank), HasSubstr("no ext4 file system"));
  EXPECT_THAT(Refusal("damage: ROOT_INODE_CLEARED", blank), HasSubstr("no ext4 file system"));
  Image tiny(1000);
  EXPECT_THAT(Refusal("superblock_field { field: 's_state' value: 1 }", tiny), HasSubstr("1000"));
  Image image = Populated({});
  EXPECT_THAT(Refusal("zap_inode_blocks { path: '/d1/none' }", image), HasSubstr("\"none\""));
  EXPECT_THAT(Refusal("zap_inode_blocks { inode: 100000 }", image), HasSubstr("no inode 100000"));
  EXPECT_THAT(Refusal("zap_inode_blocks { path: '/d1/link' }", image), HasSubstr("no blocks"));
  EXPECT_THAT(Refusal("zap_inode_blocks {}", image), HasSubstr("no inode 0"));
  Image no_journal = MakeExt4({.features = "none,filetype,extent", .more = {}});
  EXPECT_THAT(Refusal("damage: JOURNAL_SUPERBLOCK_ZEROED", no_journal), HasSubstr("no journal"));
}

TEST(DamageTest, EvidenceIsBounded) {
  Image image = MakeExt4();
  const auto step = Step("damage: FIRST_1M_ZEROED");
  const auto pieces = Damaged("damage: FIRST_1M_ZEROED", image);
  const DamageEvidence evidence = EvidenceOf(step, pieces);
  EXPECT_EQ(evidence.damage(), "first_1m_zeroed");
  ASSERT_EQ(evidence.piece_size(), 1);
  EXPECT_EQ(evidence.piece(0).length(), 1u << 20);
  EXPECT_EQ(evidence.piece(0).before().size(), kEvidenceBytesMax);
  EXPECT_EQ(evidence.piece(0).before_crc32c(), Crc32c(~0U, pieces[0].before));
  EXPECT_EQ(evidence.bytes_total(), 1u << 20);
  const DamageEvidence many = EvidenceOf(step, std::vector<DamagePiece>(1000, {0, {1}, {2}}));
  EXPECT_EQ(many.piece_size(), static_cast<int>(kEvidencePiecesMax));
  EXPECT_EQ(many.pieces_total(), 1000u);
}

// Whatever is on the disk: an answer, and no byte outside of it.
TEST(DamageTest, HostileDisksGiveAnswers) {
  const Image good = Populated({});
  const char* const steps[] = {"zap_inode_blocks { path: '/d1/inner/pieces' }",
                               "zap_inode_blocks { inode: 8 }",
                               "backup_superblocks {}",
                               "damage: GROUP_DESCRIPTORS_ZEROED",
                               "damage: JOURNAL_SUPERBLOCK_ZEROED",
                               "damage: BLOCK_BITMAP_ZEROED"};
  Prng prng(5);
  int done = 0;
  for (int i = 0; i < 1500; ++i) {
    Image image = good;
    for (int k = 0; k < 6; ++k) {
      // The superblock, the descriptors, or anything of the first 128 KiB.
      const uint64_t at = k < 2   ? kSuperblockAt + prng.Below(0x60)
                          : k < 4 ? 2048 + prng.Below(128)
                                  : prng.Below(128 << 10);
      image[at] = static_cast<uint8_t>(prng.Chance(300) ? 0xff : prng.Below(256));
    }
    MemoryTarget target(image);
    done += ApplyDamage(Step(steps[prng.Below(std::size(steps))]), target).ok() ? 1 : 0;
  }
  EXPECT_GT(done, 20);
}

}  // namespace
}  // namespace plugpull::ext4
