// SPDX-License-Identifier: Apache-2.0
// Images made by e2fsprogs with journals of journal_builder.h, recovered here and by e2fsck.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "framework/base/prng.h"
#include "framework/ext4/orphan_processing.h"
#include "framework/os/file.h"
#include "journal_builder.h"
#include "recovery_against_e2fsck.h"

namespace plugpull::ext4 {
namespace {

using Outcome = RecoveryReport::Outcome;
using ::testing::AnyOf;
using ::testing::HasSubstr;

struct Kind {
  std::string features;
  uint32_t block_bytes;
};

std::vector<Kind> Kinds() {
  const std::string plain = "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file";
  const std::string modern(kFeatures);
  return {{modern, 1024},
          {modern, 4096},
          {modern + ",^64bit", 2048},
          {modern + ",bigalloc", 1024},
          {modern + ",metadata_csum_seed,^flex_bg", 1024},
          {plain, 1024},
          {plain + ",extent", 4096}};
}

Image Made(const Kind& kind) {
  return MakeExt4({.features = kind.features,
                   .block_bytes = std::to_string(kind.block_bytes),
                   .mib = kind.block_bytes == 4096 ? 12U : 8U,
                   .more = {"-J", kind.block_bytes == 4096 ? "size=4" : "size=2"}});
}

std::vector<uint8_t> RandomBlock(Prng& prng, size_t size) {
  std::vector<uint8_t> bytes(size);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(prng.Next());
  if (prng.Chance(200)) {  // must be escaped
    const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
    std::copy(std::begin(magic), std::end(magic), bytes.begin());
  }
  return bytes;
}

// Random transactions over the last blocks of the image, which are free in a fresh one, and over
// the superblock's.
JournalBuilder AddRandomLog(Image& image, const JournalLayout& layout, uint64_t seed) {
  Prng prng(seed);
  const uint32_t size = layout.block_bytes;
  const uint64_t free = image.size() / size - 100;
  JournalFormat format;
  const int checksums[] = {0, 2, 3};
  format.checksum = checksums[prng.Below(3)];
  format.wide = prng.Chance(500);
  format.start =
      prng.Chance(300) ? static_cast<uint32_t>(layout.blocks.size() - 1 - prng.Below(9)) : 1;
  format.sequence = prng.Chance(200) ? 0xffffffff - static_cast<uint32_t>(prng.Below(3)) : 40;
  JournalBuilder builder(image, layout.blocks, size, format);
  const size_t transactions = prng.Below(6);
  for (size_t i = 0; i <= transactions; ++i) {
    TransactionParts parts;
    parts.commit_seconds = 1000 + i;
    std::set<uint64_t> homes;
    const size_t writes = prng.Chance(100) ? 100 : prng.Below(8);
    while (homes.size() < std::min<size_t>(writes, 60)) homes.insert(free + prng.Below(90));
    for (const uint64_t home : homes) parts.writes.emplace_back(home, RandomBlock(prng, size));
    if (prng.Chance(300)) {
      const uint64_t home = kSuperblockAt / size;
      std::vector<uint8_t> bytes(image.begin() + static_cast<std::ptrdiff_t>(home * size),
                                 image.begin() + static_cast<std::ptrdiff_t>((home + 1) * size));
      const auto super = std::span(bytes).subspan(kSuperblockAt % size, kSuperblockBytes);
      super[0x10] = static_cast<uint8_t>(prng.Next());  // free inodes
      super[0x60] |= 4;                                 // needs_recovery
      const uint32_t crc = SlowCrc32c(~0U, super.first(0x3fc));
      for (size_t j = 0; j < 4; ++j) super[0x3fc + j] = static_cast<uint8_t>(crc >> (8 * j));
      parts.writes.emplace_back(home, bytes);
    }
    const size_t revokes = prng.Chance(400) ? prng.Below(5) : 0;
    for (size_t j = 0; j < revokes; ++j) parts.revokes.push_back(free + prng.Below(90));
    parts.commit = i < transactions || prng.Chance(300);
    builder.Add(parts);
  }
  builder.Finish(!prng.Chance(80));
  if (prng.Chance(250)) {
    builder.Place(0)[0x2b] |= 4;  // async_commit
    builder.SealJournalSuper();
  }
  return builder;
}

size_t Rounds(size_t usual) {
  const std::string wanted = os::GetEnv("PLUGPULL_TEST_STATES", "");
  return wanted.empty() ? usual : std::strtoul(wanted.c_str(), nullptr, 10);
}

TEST(RecoveryAgainstE2fsck, OfFreshJournals) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.features + " " + std::to_string(kind.block_bytes));
    const Image fresh = Made(kind);
    ASSERT_EQ(RecoveredImage(fresh).report.outcome, Outcome::kClean);
    const JournalLayout layout = *FindJournal(fresh);
    for (size_t seed = 0; seed < Rounds(3); ++seed) {
      SCOPED_TRACE(seed);
      Image image = fresh;
      AddRandomLog(image, layout, seed);
      EXPECT_EQ(ExpectAsE2fsck(image).outcome, Outcome::kRecovered);
    }
  }
}

TEST(RecoveryAgainstE2fsck, OfDamagedJournals) {
  std::map<Outcome, size_t> outcomes;
  for (const Kind& kind : Kinds()) {
    const Image fresh = Made(kind);
    const JournalLayout layout = *FindJournal(fresh);
    for (size_t seed = 0; seed < Rounds(6); ++seed) {
      SCOPED_TRACE(kind.features + " " + std::to_string(kind.block_bytes) + " seed " +
                   std::to_string(seed));
      Image image = fresh;
      JournalBuilder builder = AddRandomLog(image, layout, seed);
      Prng prng(seed + 1000);
      const size_t damages = 1 + prng.Below(3);
      for (size_t i = 0; i < damages; ++i) {
        const auto& transaction = builder.places()[prng.Below(builder.places().size())];
        if (transaction.empty()) continue;
        const size_t last = transaction.size() - 1;  // the commit block
        const auto block =
            builder.Place(transaction[prng.Chance(400) ? last : prng.Below(last + 1)]);
        block[prng.Below(prng.Chance(500) ? 64 : block.size())] ^= 1 << prng.Below(8);
      }
      const auto report = ExpectAsE2fsck(image);
      ++outcomes[report.outcome];
      if (report.outcome != Outcome::kRefused || !ParseSuperblock(image)->needs_recovery())
        continue;
      EXPECT_THAT(E2fsck(image, {"-y", "-E", "journal_only"}).out,
                  AnyOf(HasSubstr("ournal checksum error"), HasSubstr("was corrupt, replay"),
                        HasSubstr("while recovering journal")))
          << report.reason;
    }
  }
  EXPECT_GT(outcomes[Outcome::kRecovered], 5U);
  EXPECT_GT(outcomes[Outcome::kRefused], 5U);
}

TEST(RecoveryAgainstE2fsck, OfAJournalWithAnError) {
  const Image fresh = Made({kFeatures, 1024});
  const JournalLayout layout = *FindJournal(fresh);
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Image image = fresh;
    JournalBuilder builder = AddRandomLog(image, layout, seed);
    builder.Place(0)[0x23] = 5;  // s_errno
    builder.SealJournalSuper();
    if (ReadJournalSuper(image, layout)->checksum_v2() == false &&
        ReadJournalSuper(image, layout)->checksum_v3() == false) {
      continue;
    }
    EXPECT_EQ(ExpectAsE2fsck(image).outcome, Outcome::kRecovered);
    if (!ParseSuperblock(image)->needs_recovery()) continue;
    EXPECT_NE(ParseSuperblock(RecoveredImage(image).Bytes())->state & kStateErrors, 0);
  }
}

// A file system with files, and debugfs's way to make some of them orphans.
Image WithFiles(const Kind& kind) {
  Image image = Made(kind);
  std::string data(70000, 'x');
  std::vector<std::string> commands;
  for (const char* name : {"a", "b", "c", "d"}) {
    commands.push_back(std::string("write @input ") + name);
  }
  commands.push_back("mkdir e");
  commands.push_back("ea_set d user.long " + std::string(300, 'v'));
  std::string input = data;
  Debugfs(image, commands, input);
  return image;
}

uint32_t InodeOf(const Image& image, const std::string& name) {
  auto files = FileSystem::Open(std::span<const uint8_t>(image));
  return (*files->Lookup(name))->inode;
}

void MakeList(Image& image, const std::vector<std::string>& names) {
  std::vector<std::string> commands;
  for (size_t i = 0; i < names.size(); ++i) {
    const uint32_t next = i + 1 < names.size() ? InodeOf(image, names[i + 1]) : 0;
    commands.push_back("sif " + names[i] + " dtime @" + std::to_string(next));
    if (names[i] == "b") {
      commands.push_back("sif b size 5000");  // to be cut
    } else if (names[i] == "c") {
      commands.push_back("sif c size 0");
    } else {
      commands.push_back("sif " + names[i] + " links_count 0");
    }
  }
  commands.push_back("ssv last_orphan " + std::to_string(InodeOf(image, names[0])));
  for (const std::string& name : names) {
    if (name != "b" && name != "c") commands.push_back("unlink " + name);
    if (name == "e") commands.push_back("sif / links_count 3");
  }
  Debugfs(image, commands);
}

// The number behind the first place of `label` in what debugfs prints.
uint32_t DebugfsNumber(Image& image, const std::string& command, const std::string& label) {
  const std::string out = RunTool("debugfs", {"-R", command, "@image"}, image).out;
  const size_t at = out.find(label);
  EXPECT_NE(at, std::string::npos) << out;
  return static_cast<uint32_t>(std::strtoul(out.c_str() + at + label.size(), nullptr, 10));
}

TEST(OrphansAgainstE2fsck, OfTheList) {
  const std::vector<Kind> kinds = Kinds();
  for (const Kind& kind : kinds) {
    if (kind.features.find("bigalloc") != std::string::npos) continue;
    SCOPED_TRACE(kind.features + " " + std::to_string(kind.block_bytes));
    const Image files = WithFiles(kind);
    // One by one in the first format, all of them in each.
    std::vector<std::vector<std::string>> lists = {{"d", "b", "a", "e", "c"}};
    if (&kind == &kinds[0]) lists.insert(lists.end(), {{"a"}, {"b"}, {"c"}, {"d"}, {"e"}});
    for (const auto& names : lists) {
      SCOPED_TRACE(names[0]);
      Image image = files;
      MakeList(image, names);
      const auto report = ExpectAsE2fsck(image);
      EXPECT_EQ(report.outcome, Outcome::kRecovered) << report.reason;
      EXPECT_EQ(report.orphans, names.size());
      Image recovered = RecoveredImage(image).Bytes();
      const ToolEnd end = E2fsck(recovered, {"-fn"});
      EXPECT_EQ(end.status, 0) << end.out;
      // The same after a replay.
      AddRandomLog(image, *FindJournal(image), 3);
      EXPECT_EQ(ExpectAsE2fsck(image).outcome, Outcome::kRecovered);
    }
  }
}

TEST(OrphansAgainstE2fsck, AttributesThatTwoInodesShareStay) {
  Image image = WithFiles(Kinds()[5]);  // no checksums
  const uint32_t block = DebugfsNumber(image, "stat d", "File ACL: ");
  image[block * 1024 + 4] = 2;  // h_refcount
  Debugfs(image, {"sif a file_acl " + std::to_string(block)});
  MakeList(image, {"d"});
  EXPECT_EQ(ExpectAsE2fsck(image).orphans, 1U);
  EXPECT_EQ(RecoveredImage(image).Bytes()[block * 1024 + 4], 1);
}

// Enters inodes in the orphan file (Documentation/filesystems/ext4/orphan.rst of the kernel). Gives
// its first block.
uint64_t EnterOrphans(Image& image, const std::vector<uint32_t>& numbers) {
  const auto put = [](std::span<uint8_t> bytes, uint64_t value) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  };
  const auto super = std::span(image).subspan(kSuperblockAt, kSuperblockBytes);
  const uint32_t file = super[0x280] | super[0x281] << 8;
  const std::string name = "<" + std::to_string(file) + ">";
  const uint32_t generation = DebugfsNumber(image, "stat " + name, "Generation: ");
  const uint64_t number = DebugfsNumber(image, "stat " + name, "(0-31):");
  const auto block = std::span(image).subspan(number * 1024, 1024);
  for (size_t i = 0; i < numbers.size(); ++i) put(block.subspan(40 * i, 4), numbers[i]);
  uint8_t head[16];
  put(std::span(head).subspan(0, 4), file);
  put(std::span(head).subspan(4, 4), generation);
  put(std::span(head).subspan(8, 8), number);
  const uint32_t seed = SlowCrc32c(~0U, super.subspan(0x68, 16));
  put(block.subspan(1020, 4), SlowCrc32c(SlowCrc32c(seed, head), block.first(1016)));
  super[0x66] |= 1;  // ORPHAN_PRESENT
  put(super.subspan(0x3fc, 4), SlowCrc32c(~0U, super.first(0x3fc)));
  return number;
}

TEST(OrphansAgainstE2fsck, OfTheOrphanFile) {
  const Image files = WithFiles({std::string(kFeatures) + ",orphan_file", 1024});
  for (const bool listed : {false, true}) {
    Image image = files;
    if (listed) MakeList(image, {"d", "c"});
    const uint32_t a = InodeOf(image, "a");
    const uint32_t b = InodeOf(image, "b");
    Debugfs(image, {"sif a links_count 0", "sif b size 5000", "unlink a"});
    const uint64_t block = EnterOrphans(image, {a, b});
    const auto report = ExpectAsE2fsck(image, {1, block});
    ASSERT_EQ(report.outcome, Outcome::kRecovered) << report.reason;
    EXPECT_EQ(report.orphans, listed ? 4U : 2U);
    Image here = RecoveredImage(image).Bytes();
    Image there = image;
    E2fsck(there, {"-y", "-E", "journal_only"});
    EXPECT_TRUE(ParseSuperblock(there)->has_orphans());
    EXPECT_NE(E2fsck(there, {"-fn"}).status, 0);
    EXPECT_FALSE(ParseSuperblock(here)->has_orphans());
    const ToolEnd end = E2fsck(here, {"-fn"});
    EXPECT_EQ(end.status, 0) << end.out;
    Image damaged = there;
    damaged[block * 1024 + 100] ^= 1;
    const Image untouched = damaged;
    EXPECT_FALSE(ForgetOrphanFile(damaged).ok());
    EXPECT_EQ(damaged, untouched);
    Image forgotten = there;
    ASSERT_TRUE(ForgetOrphanFile(forgotten).ok());
    EXPECT_FALSE(ParseSuperblock(forgotten)->has_orphans());
    const ToolEnd passed = E2fsck(forgotten, {"-fn"});
    EXPECT_EQ(passed.status, 0) << passed.out;
    EXPECT_TRUE(std::equal(here.begin() + 2048, here.end(), forgotten.begin() + 2048));
    // Of the superblock nothing else differs.
    there[kSuperblockAt + 0x66] &= 0xfe;
    here[kSuperblockAt + 0x66] &= 0xfe;
    std::fill_n(there.begin() + kSuperblockAt + 0x3fc, 4, 0);
    std::fill_n(here.begin() + kSuperblockAt + 0x3fc, 4, 0);
    for (const ByteRange& range : CounterRanges(*ParseSuperblock(files))) {
      for (uint64_t at = range.start; at < range.end; ++at) there[at] = here[at] = 0;
    }
    EXPECT_TRUE(std::equal(here.begin() + 1024, here.begin() + 2048, there.begin() + 1024));
    image[block * 1024 + 100] ^= 1;
    EXPECT_EQ(RecoveredImage(image).report.outcome, Outcome::kElsewhere);
  }
}

// Damage that e2fsck would repair before or after it replays must not be taken for granted.
TEST(RecoveryAgainstE2fsck, OfDamagedFileSystems) {
  std::map<Outcome, size_t> outcomes;
  const std::vector<Kind> kinds = Kinds();
  for (const Kind& kind : kinds) {
    const Image files = WithFiles(kind);
    Image orphans = files;
    MakeList(orphans, {"d", "b", "a"});
    const JournalLayout layout = *FindJournal(files);
    for (size_t seed = 0; seed < Rounds(6); ++seed) {
      SCOPED_TRACE(kind.features + " " + std::to_string(kind.block_bytes) + " seed " +
                   std::to_string(seed));
      Prng prng(seed + 2000);
      Image image = prng.Chance(500) ? files : orphans;
      JournalBuilder builder = AddRandomLog(image, layout, seed);
      if (prng.Chance(500)) {
        image[kSuperblockAt + prng.Below(prng.Chance(700) ? 0x100 : 0x290)] ^= 1 << prng.Below(8);
        if (kind.features.find("metadata_csum") != std::string::npos) builder.SealExt4Super();
      } else {
        const size_t from = kind.block_bytes == 1024 ? 2048 : kind.block_bytes;
        const size_t within = prng.Chance(500) ? 64 : 24 * kind.block_bytes;
        image[from + prng.Below(within)] ^= 1 << prng.Below(8);
      }
      if (!ParseSuperblock(image).ok()) continue;
      if (ParseSuperblock(image)->block_bytes != kind.block_bytes) continue;
      ++outcomes[ExpectAsE2fsck(image).outcome];
    }
  }
  EXPECT_GT(outcomes[Outcome::kRecovered], 5U);
  EXPECT_GT(outcomes[Outcome::kElsewhere], 5U);
}

TEST(OrphansAgainstE2fsck, AListThatIsWrongIsLeftToIt) {
  Image image = WithFiles({kFeatures, 1024});
  Debugfs(image, {"ssv last_orphan 9999"});
  EXPECT_EQ(RecoveredImage(image).report.outcome, Outcome::kElsewhere);
  EXPECT_EQ(RecoveredImage(image).Bytes(), image);
  Debugfs(image, {"ssv last_orphan " + std::to_string(InodeOf(image, "a")), "sif a dtime @8000",
                  "sif a links_count 0"});
  EXPECT_EQ(RecoveredImage(image).report.outcome, Outcome::kElsewhere);
  EXPECT_EQ(RecoveredImage(image).Bytes(), image);
}

TEST(OrphansAgainstE2fsck, OfAFileSystemWithErrorsAreForgotten) {
  Image image = WithFiles({kFeatures, 1024});
  MakeList(image, {"a", "b"});
  Debugfs(image, {"ssv state 2"});
  const auto report = ExpectAsE2fsck(image);
  EXPECT_EQ(report.outcome, Outcome::kRecovered);
  EXPECT_EQ(report.orphans, 0U);
  EXPECT_EQ(ParseSuperblock(RecoveredImage(image).Bytes())->last_orphan, 0U);
}

TEST(Recovery, LeavesToE2fsckWhatItDoesNotKnow) {
  for (const char* more : {",fast_commit", ",quota", ",mmp"}) {
    Image image = MakeExt4({.features = std::string(kFeatures) + more});
    AddRandomLog(image, *FindJournal(image), 1);
    const RecoveredImage here(image);
    EXPECT_EQ(here.report.outcome, Outcome::kElsewhere) << more;
    EXPECT_NE(here.report.reason, "") << more;
    EXPECT_EQ(here.Bytes(), image);
  }
}

TEST(Recovery, OfAnImageWithoutAJournalIsNothing) {
  const Image image = MakeExt4({.features = std::string(kFeatures) + ",^has_journal", .more = {}});
  EXPECT_EQ(RecoveredImage(image).report.outcome, Outcome::kClean);
}

TEST(RecoveryFingerprint, CountersDoNotCount) {
  const Image base = MakeExt4();
  image::ContentStore store(1024);
  image::CowImage raw(base, store);
  JournalRecovery recovery(raw, *FindJournal(base));
  recovery.Update({});
  const auto clean = recovery.fingerprint();
  const auto change = [&](size_t at) {
    std::vector<uint8_t> block(raw.Block(1).begin(), raw.Block(1).end());
    block[at] ^= 1;
    const uint32_t crc = SlowCrc32c(~0U, std::span(block).first(0x3fc));
    for (size_t j = 0; j < 4; ++j) block[0x3fc + j] = static_cast<uint8_t>(crc >> (8 * j));
    raw.SetCopy(1, block);
    recovery.Update(std::vector<uint64_t>{1});
  };
  change(0x30);  // s_wtime
  EXPECT_NE(raw.Difference(1), nullptr);
  EXPECT_EQ(recovery.fingerprint(), clean);
  change(0x10);  // free inodes
  EXPECT_NE(recovery.fingerprint(), clean);
  change(0x10);
  EXPECT_EQ(recovery.fingerprint(), clean);
}

std::map<uint64_t, const image::Content*> Differences(const JournalRecovery& recovery) {
  std::map<uint64_t, const image::Content*> differences;
  recovery.recovered().ForEachDifference(
      [&](uint64_t block, const image::Content& content) { differences.emplace(block, &content); });
  return differences;
}

void ExpectSame(const JournalRecovery& recovery, const RecoveryReport& report,
                const JournalRecovery& fresh, const RecoveryReport& expected) {
  EXPECT_EQ(report.outcome, expected.outcome) << report.reason << " / " << expected.reason;
  EXPECT_EQ(report.reason, expected.reason);
  EXPECT_EQ(report.transactions, expected.transactions);
  EXPECT_EQ(report.blocks_replayed, expected.blocks_replayed);
  EXPECT_EQ(report.revoked, expected.revoked);
  EXPECT_EQ(report.orphans, expected.orphans);
  EXPECT_EQ(recovery.fingerprint(), fresh.fingerprint());
  EXPECT_EQ(Differences(recovery), Differences(fresh));
}

// A log that grows block by block, not quite in its order, and whose tail then moves.
TEST(Recovery, FollowsALogThatGrows) {
  const Image fresh_image = Made({kFeatures, 1024});
  const JournalLayout layout = *FindJournal(fresh_image);
  for (uint64_t seed = 0; seed < 25; ++seed) {
    SCOPED_TRACE(seed);
    Image last = fresh_image;
    JournalBuilder builder = AddRandomLog(last, layout, seed);
    std::vector<uint32_t> places;
    for (const auto& transaction : builder.places()) {
      places.insert(places.end(), transaction.begin(), transaction.end());
    }
    Prng prng(seed);
    for (size_t i = 0; i + 1 < places.size(); ++i) {
      std::swap(places[i], places[i + prng.Below(std::min<size_t>(3, places.size() - i))]);
    }
    image::ContentStore store(1024);
    image::CowImage raw(fresh_image, store);
    const auto set = [&](uint64_t block) {
      raw.SetCopy(block, std::span(last).subspan(block * 1024, 1024));
      return block;
    };
    set(1);
    set(layout.blocks[0]);
    JournalRecovery recovery(raw, layout);
    recovery.Update({});
    const auto step = [&](uint64_t block) {
      const RecoveryReport report = recovery.Update(std::vector<uint64_t>{set(block)});
      JournalRecovery fresh(raw, layout);
      const RecoveryReport expected = fresh.Update({});
      ExpectSame(recovery, report, fresh, expected);
    };
    for (const uint32_t place : places) {
      step(layout.blocks[place]);
      ASSERT_FALSE(testing::Test::HasFailure()) << "place " << place;
    }
    EXPECT_EQ(recovery.Update({}).outcome, RecoveredImage(last).report.outcome);
    for (size_t i = 1; i < builder.places().size(); ++i) {
      const auto super = builder.Place(0);
      if (builder.places()[i].empty()) continue;
      const uint32_t start = builder.places()[i][0];
      for (size_t j = 0; j < 4; ++j) {
        super[0x1c + j] = static_cast<uint8_t>(start >> (24 - 8 * j));
      }
      for (size_t j = 0x1b; ++super[j] == 0 && j > 0x18; --j) continue;  // s_sequence
      builder.SealJournalSuper();
      step(layout.blocks[0]);
      ASSERT_FALSE(testing::Test::HasFailure()) << "tail at " << start;
    }
  }
}

TEST(Recovery, UnderAsyncCommitTheLastWrongCommitIsTheEnd) {
  const Image fresh_image = Made({kFeatures, 1024});
  const JournalLayout layout = *FindJournal(fresh_image);
  for (const uint32_t sequence : {40U, 0xfffffffcU}) {
    Image image = fresh_image;
    JournalFormat format;
    format.sequence = sequence;
    JournalBuilder builder(image, layout.blocks, 1024, format);
    Prng prng(1);
    for (uint64_t i = 0; i < 6; ++i) {
      TransactionParts parts;
      parts.commit_seconds = 1000 + i;
      parts.writes.emplace_back(8000 + i, RandomBlock(prng, 1024));
      builder.Add(parts);
    }
    builder.Finish();
    builder.Place(0)[0x2b] |= 4;
    builder.SealJournalSuper();
    builder.Place(builder.places()[2].back())[40] ^= 1;  // in its header
    EXPECT_EQ(ExpectAsE2fsck(image).transactions, 2U);
    builder.Place(builder.places()[4].back())[40] ^= 1;  // in its header
    // Transaction number 0 cannot be the end.
    EXPECT_EQ(ExpectAsE2fsck(image).transactions, sequence == 40 ? 4U : 6U);

    image::ContentStore store(1024);
    image::CowImage raw(image, store);
    JournalRecovery recovery(raw, layout);
    recovery.Update({});
    const uint64_t commit = layout.blocks[builder.places()[4].back()];
    raw.Set(commit, store.zeroes());
    const RecoveryReport report = recovery.Update(std::vector<uint64_t>{commit});
    EXPECT_EQ(report.transactions, 2U);
    JournalRecovery fresh(raw, layout);
    const RecoveryReport expected = fresh.Update({});
    ExpectSame(recovery, report, fresh, expected);
  }
}

// Walks at random between versions of blocks of journals and file system. Whatever the way, what
// comes out is what a fresh recovery makes of the state.
TEST(Recovery, DoesNotDependOnTheWayToAState) {
  std::map<Outcome, size_t> all;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE(seed);
    Prng prng(seed);
    Image base = WithFiles({kFeatures, 1024});
    const JournalLayout layout = *FindJournal(base);
    std::vector<Image> versions = {base};
    for (uint64_t i = 0; i < 4; ++i) {
      Image version = base;
      if (i == 3) MakeList(version, {"a", "b"});
      // Another s_uuid seeds other checksums.
      if (i == 1) version[layout.blocks[0] * 1024 + 0x30] ^= 0x5a;
      AddRandomLog(version, layout, seed * 8 + i / 2);
      versions.push_back(std::move(version));
    }
    std::vector<uint64_t> interesting = {1};
    for (uint64_t block = 0; block < base.size() / 1024; ++block) {
      const auto at = static_cast<std::ptrdiff_t>(block * 1024);
      for (const Image& version : versions) {
        if (std::equal(base.begin() + at, base.begin() + at + 1024, version.begin() + at)) continue;
        interesting.push_back(block);
        break;
      }
    }
    image::ContentStore store(1024);
    image::CowImage raw(base, store);
    JournalRecovery recovery(raw, layout);
    std::map<Outcome, size_t> outcomes;
    for (int step = 0; step < 400; ++step) {
      std::vector<uint64_t> changed;
      const Image& version = versions[prng.Below(versions.size())];
      const bool whole = prng.Chance(100);
      const size_t count = whole ? interesting.size() : 1 + prng.Below(4);
      for (size_t i = 0; i < count; ++i) {
        const uint64_t block = interesting[whole ? i : prng.Below(interesting.size())];
        std::vector<uint8_t> bytes(
            version.begin() + static_cast<std::ptrdiff_t>(block * 1024),
            version.begin() + static_cast<std::ptrdiff_t>((block + 1) * 1024));
        if (!whole && prng.Chance(50)) bytes[prng.Below(1024)] ^= 1;
        raw.SetCopy(block, bytes);
        changed.push_back(block);
      }
      const RecoveryReport report = recovery.Update(changed);
      JournalRecovery fresh(raw, layout);
      const RecoveryReport expected = fresh.Update({});
      ++outcomes[report.outcome];
      ExpectSame(recovery, report, fresh, expected);
      ASSERT_FALSE(testing::Test::HasFailure()) << "step " << step;
    }
    for (const auto& [outcome, count] : outcomes) all[outcome] += count;
  }
  EXPECT_GT(all[Outcome::kRecovered], 100U);
  EXPECT_GT(all[Outcome::kRefused], 100U);
}

TEST(Recovery, OfHostileBytesEnds) {
  for (const Kind& kind : {Kinds()[0], Kinds()[5], Kinds()[6]}) {  // with checksums and without
    Image image = WithFiles(kind);
    MakeList(image, {"a", "b", "d"});
    const JournalLayout layout = *FindJournal(image);
    AddRandomLog(image, layout, 2);
    const size_t size = kind.block_bytes;
    std::map<Outcome, size_t> outcomes;
    const size_t rounds = Rounds(60);
    for (uint64_t seed = 0; seed < rounds; ++seed) {
      Prng prng(seed);
      Image hostile = image;
      const size_t flips = 1 + prng.Below(40);
      for (size_t i = 0; i < flips; ++i) {
        const uint64_t block = prng.Chance(500) ? layout.blocks[prng.Below(12)] : prng.Below(80);
        hostile[block * size + prng.Below(prng.Chance(500) ? 64 : size)] ^=
            static_cast<uint8_t>(prng.Next());
      }
      ++outcomes[RecoverImage(hostile).outcome];
    }
    size_t all = 0;
    for (const auto& [outcome, count] : outcomes) all += count;
    EXPECT_EQ(all, rounds);
    EXPECT_GT(outcomes.size(), 1U);
  }
}

}  // namespace
}  // namespace plugpull::ext4
