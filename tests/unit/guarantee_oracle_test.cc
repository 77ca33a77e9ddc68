// SPDX-License-Identifier: Apache-2.0
// What is said of states by hand, and of those that a simulated ext4 leaves: what it keeps by its
// making is never called broken, and what it does not keep is seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "framework/base/prng.h"
#include "framework/image/poison.h"
#include "framework/oracle/guarantees.h"
#include "framework/workload/guarantee_generator.h"
#include "memory_view.h"
#include "simulated_ext4.h"

namespace plugpull::oracle {
namespace {

using ::testing::HasSubstr;
using workload::ObligationKey;

constexpr auto kRename = GuaranteeReport::RENAME_UNSYNCED;
constexpr auto kSound = GuaranteeReport::APPEND_SOUND;
constexpr auto kWhole = GuaranteeReport::APPEND_WHOLE;
constexpr auto kOverwrite = GuaranteeReport::OVERWRITE_WHOLE;

class GuaranteeOracle : public testing::Test {
 protected:
  GuaranteeAnswers Judge(MemoryView& view) {
    const auto questions = workload::QuestionsOf(script_.trace());
    EXPECT_TRUE(questions.ok());
    return JudgeGuarantees(*questions, {3, script_.size()}, view);
  }
  // The file as it is durable, by operations 0 to 2.
  void Durable(uint64_t length) { script_.Create("a", 1).Write("a", 1, 0, length).Fsync("a"); }
  MemoryView After(uint64_t count) { return ViewAfter(script_.trace(), count); }

  Script script_;
};

TEST_F(GuaranteeOracle, ARenameShowsOneOfBothFilesWhole) {
  Durable(3000);
  script_.Create("b", 2).Write("b", 2, 0, 5000).Rename("b", "a");
  MemoryView old = After(3);
  GuaranteeAnswers said = Judge(old);
  EXPECT_TRUE(said.asked.Has(kRename));
  EXPECT_FALSE(said.shown.Has(kRename));
  EXPECT_FALSE(said.broken.Has(kRename));
  MemoryView fresh = After(6);
  said = Judge(fresh);
  EXPECT_TRUE(said.shown.Has(kRename));
  EXPECT_FALSE(said.broken.Has(kRename));
  EXPECT_FALSE(said.asked.Has(kSound)) << "nobody appended";
}

TEST_F(GuaranteeOracle, ARenameThatShowsAnythingElseIsBroken) {
  Durable(3000);
  script_.Create("b", 2).Write("b", 2, 0, 5000).Rename("b", "a");
  const auto evidence = [&](const auto& change) {
    MemoryView view = After(6);
    change(view);
    const GuaranteeAnswers said = Judge(view);
    EXPECT_TRUE(said.broken.Has(kRename));
    const auto found = said.evidence.find(kRename);
    return found == said.evidence.end() ? std::string() : found->second;
  };
  EXPECT_THAT(evidence([](MemoryView& view) { view.names.erase("a"); }), HasSubstr("is missing"));
  EXPECT_THAT(evidence([](MemoryView& view) { view.BytesOf("a").clear(); }),
              HasSubstr("is 0 bytes long"));
  EXPECT_THAT(evidence([](MemoryView& view) { view.Zero("a", 1024, 512); }),
              HasSubstr("has the size of the new file, and byte 1024 holds zeroes"));
  EXPECT_THAT(evidence([](MemoryView& view) {
                view.BytesOf("a").resize(3000);
                view.Fill("a", 1, 2, 0, 3000);
                view.Fill("a", 7, 9, 2016, 64);
              }),
              HasSubstr("size of the old file, and byte 2016 holds bytes of file 7, version 9"));
  EXPECT_THAT(evidence([](MemoryView& view) {
                auto& bytes = view.BytesOf("a");
                image::FillPoison(3, 4096, std::span(bytes).subspan(4096, 96));
              }),
              HasSubstr("byte 4096 holds what the disk held before mkfs"));
}

TEST_F(GuaranteeOracle, AnAppendMayShowABeginningAndNothingElse) {
  Durable(3000);
  script_.Write("a", 1, 3000, 2000);
  MemoryView part = After(4);
  part.BytesOf("a").resize(4096);
  GuaranteeAnswers said = Judge(part);
  EXPECT_TRUE(said.asked.Has(kSound));
  EXPECT_TRUE(said.shown.Has(kSound));
  EXPECT_FALSE(said.broken.Has(kSound));
  EXPECT_TRUE(said.broken.Has(kWhole));
  EXPECT_THAT(said.evidence[kWhole], HasSubstr("is 4096 bytes long, which is a part of it"));
  MemoryView zeroes = After(4);
  zeroes.Zero("a", 4096, 904);
  said = Judge(zeroes);
  EXPECT_TRUE(said.broken.Has(kSound));
  EXPECT_TRUE(said.broken.Has(kWhole));
  EXPECT_THAT(said.evidence[kSound], HasSubstr("byte 4096 holds zeroes"));
  MemoryView longer = After(4);
  longer.BytesOf("a").resize(5001);
  EXPECT_TRUE(Judge(longer).broken.Has(kSound));
  MemoryView whole = After(4);
  EXPECT_FALSE(Judge(whole).broken.Has(kWhole));
  MemoryView none = After(3);
  said = Judge(none);
  EXPECT_TRUE(said.asked.Has(kWhole));
  EXPECT_FALSE(said.shown.Has(kWhole));
  EXPECT_FALSE(said.broken.Has(kWhole));
}

TEST_F(GuaranteeOracle, WhatWasDurableIsNotTheAppendsAffair) {
  Durable(3000);
  script_.Write("a", 1, 3000, 2000);
  MemoryView lost = After(4);
  lost.Zero("a", 0, 32);
  EXPECT_FALSE(Judge(lost).asked.Has(kSound));
  MemoryView shorter = After(3);
  shorter.BytesOf("a").resize(2999);
  EXPECT_FALSE(Judge(shorter).asked.Has(kSound));
}

TEST_F(GuaranteeOracle, AnOverwriteIsTornWhenOldAndNewStandTogether) {
  Durable(4000);
  script_.Write("a", 1, 0, 4000);
  MemoryView old = After(3);
  EXPECT_FALSE(Judge(old).shown.Has(kOverwrite));
  EXPECT_FALSE(Judge(old).broken.Has(kOverwrite));
  MemoryView fresh = After(4);
  EXPECT_TRUE(Judge(fresh).shown.Has(kOverwrite));
  EXPECT_FALSE(Judge(fresh).broken.Has(kOverwrite));
  MemoryView torn = After(3);
  torn.Fill("a", 1, 4, 1024, 1024);
  const GuaranteeAnswers said = Judge(torn);
  EXPECT_TRUE(said.broken.Has(kOverwrite));
  EXPECT_THAT(said.evidence.at(kOverwrite), HasSubstr("byte 0 is old and byte 1024 new"));
  MemoryView wrong = After(4);
  wrong.Zero("a", 1024, 32);
  EXPECT_FALSE(Judge(wrong).asked.Has(kOverwrite)) << "neither old nor new: lost";
}

TEST_F(GuaranteeOracle, WhatCannotBeReadIsUnknown) {
  Durable(4000);
  script_.Write("a", 1, 0, 4000);
  MemoryView view = After(4);
  view.unreadable_inodes.insert(view.names["a"]);
  const GuaranteeAnswers said = Judge(view);
  EXPECT_TRUE(said.unknown.Has(kOverwrite));
  EXPECT_FALSE(said.asked.Has(kOverwrite));
}

// ---- the simulated ext4

struct Tally {
  std::map<int, uint64_t> asked;
  std::map<int, uint64_t> shown;
  std::map<int, uint64_t> broken;
  std::string evidence;
};

bool IsSync(const Operation& operation) {
  return operation.kind() == Operation::FSYNC || operation.kind() == Operation::SYNC;
}

Tally JudgeCuts(const SimulatedExt4::Options& options) {
  Tally tally;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    GuaranteesWorkload workload;
    workload.set_rounds(4);
    workload.set_size_kib_max(8);
    const auto operations = workload::GenerateGuarantees(workload, seed);
    PP_CHECK(operations.ok());
    WorkloadTrace trace;
    for (const Operation& operation : *operations) {
      trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
      *trace.add_operation() = operation;
    }
    const auto questions = workload::QuestionsOf(trace);
    PP_CHECK(questions.ok());
    SimulatedExt4 disk(options, seed);
    const auto count = static_cast<uint64_t>(trace.operation_size());
    for (uint64_t done = 0; done < count; ++done) {
      disk.Do(trace.operation(static_cast<int>(done)), done);
      ObligationKey key{done + 1, done + 1};
      while (key.ended_count > 0 &&
             !IsSync(trace.operation(static_cast<int>(key.ended_count - 1)))) {
        --key.ended_count;
      }
      while (key.begun_count < count &&
             !IsSync(trace.operation(static_cast<int>(key.begun_count)))) {
        ++key.begun_count;
      }
      key.begun_count = std::min(count, key.begun_count + 1);
      for (int cut = 0; cut < 4; ++cut) {
        MemoryView view = disk.Crash();
        const GuaranteeAnswers said = JudgeGuarantees(*questions, key, view);
        for (int i = 1; i <= GuaranteeReport::Guarantee_MAX; ++i) {
          const auto guarantee = static_cast<GuaranteeReport::Guarantee>(i);
          tally.asked[i] += said.asked.Has(guarantee) ? 1 : 0;
          tally.shown[i] += said.shown.Has(guarantee) ? 1 : 0;
          tally.broken[i] += said.broken.Has(guarantee) ? 1 : 0;
        }
        for (const auto& [guarantee, words] : said.evidence) tally.evidence = words;
      }
    }
  }
  return tally;
}

TEST(GuaranteesOfASimulatedExt4, AnHonestOneKeepsWhatItsOrderGives) {
  Tally tally = JudgeCuts({});
  EXPECT_EQ(tally.broken[GuaranteeReport::RENAME_SYNCED], 0U) << tally.evidence;
  EXPECT_GT(tally.shown[GuaranteeReport::RENAME_SYNCED], 20U);
  EXPECT_GT(tally.asked[GuaranteeReport::RENAME_SYNCED],
            tally.shown[GuaranteeReport::RENAME_SYNCED]);
  // It orders new blocks only, so the old last block of a file may come after its new size; it
  // writes one block after the other, commits at any time, and has no auto_da_alloc.
  EXPECT_GT(tally.broken[GuaranteeReport::APPEND_SOUND], 0U);
  EXPECT_GT(tally.broken[GuaranteeReport::APPEND_WHOLE], 0U);
  EXPECT_GT(tally.broken[GuaranteeReport::OVERWRITE_WHOLE], 0U);
  EXPECT_GT(tally.broken[GuaranteeReport::RENAME_UNSYNCED], 0U);
}

TEST(GuaranteesOfASimulatedExt4, MetadataBeforeDataBreaksAppends) {
  SimulatedExt4::Options options;
  options.data_writeback = true;
  Tally tally = JudgeCuts(options);
  EXPECT_GT(tally.broken[GuaranteeReport::APPEND_SOUND], 0U);
}

TEST(GuaranteesOfASimulatedExt4, SyncsThatDoNothingBreakRenamesOfSyncedFiles) {
  SimulatedExt4::Options options;
  options.dishonest = true;
  Tally tally = JudgeCuts(options);
  EXPECT_GT(tally.broken[GuaranteeReport::RENAME_SYNCED], 0U);
}

}  // namespace
}  // namespace plugpull::oracle
