// SPDX-License-Identifier: Apache-2.0
// The guarantees workload, and the questions that traces put.
#include "framework/workload/guarantee_questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "framework/workload/file_tree.h"
#include "framework/workload/guarantee_generator.h"
#include "memory_view.h"

namespace plugpull::workload {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Kind = GuaranteeQuestion::Kind;
using oracle::Script;

std::vector<Operation> Generate(uint64_t seed, uint32_t workload = 0, uint32_t rounds = 7) {
  GuaranteesWorkload options;
  options.set_rounds(rounds);
  auto operations = GenerateGuarantees(options, seed, workload);
  EXPECT_TRUE(operations.ok());
  return *std::move(operations);
}

WorkloadTrace TraceOf(const std::vector<Operation>& operations) {
  WorkloadTrace trace;
  for (const Operation& operation : operations) {
    trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
    *trace.add_operation() = operation;
  }
  return trace;
}

std::vector<GuaranteeQuestion> Questions(const WorkloadTrace& trace) {
  auto questions = QuestionsOf(trace);
  EXPECT_TRUE(questions.ok());
  return *std::move(questions);
}

TEST(GuaranteeGenerator, EverythingSucceedsOnAHealthyFileSystemAndRepeats) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const auto operations = Generate(seed, static_cast<uint32_t>(seed % 3));
    FileTree tree;
    for (uint64_t i = 0; i < operations.size(); ++i) {
      const auto applied = tree.Apply(operations[i], i);
      ASSERT_TRUE(applied.ok()) << applied.error().ToString();
    }
    const auto again = Generate(seed, static_cast<uint32_t>(seed % 3));
    ASSERT_EQ(operations.size(), again.size());
    for (size_t i = 0; i < operations.size(); ++i) {
      EXPECT_EQ(operations[i].SerializeAsString(), again[i].SerializeAsString());
    }
  }
}

TEST(GuaranteeGenerator, EachRoundPutsEachQuestion) {
  std::map<Kind, uint64_t> counts;
  for (const GuaranteeQuestion& question : Questions(TraceOf(Generate(3)))) {
    ++counts[question.kind];
  }
  EXPECT_EQ(counts[Kind::kRenameSynced], 7U);
  EXPECT_EQ(counts[Kind::kRenameUnsynced], 7U);
  // The file that is synced after each change asks both, too, for as long as that takes.
  EXPECT_EQ(counts[Kind::kAppend], 14U);
  EXPECT_EQ(counts[Kind::kOverwrite], 14U);
}

TEST(GuaranteeGenerator, WorkloadsNeverMeet) {
  std::set<uint64_t> files;
  for (const Operation& operation : Generate(1, 0)) files.insert(operation.file());
  for (const Operation& operation : Generate(1, 1)) {
    EXPECT_TRUE(operation.file() == 0 || !files.contains(operation.file()));
    EXPECT_TRUE(operation.path().empty() || operation.path().starts_with("w1g"));
  }
}

TEST(GuaranteeGenerator, NumbersHaveBounds) {
  GuaranteesWorkload options;
  options.set_rounds(0);
  auto result = GenerateGuarantees(options, 1);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("rounds is 0, it must be from 1 to 10000"));
  options.set_rounds(1);
  options.set_size_kib_max(4096);
  result = GenerateGuarantees(options, 1);
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message, HasSubstr("size_kib_max is 4096"));
}

// 0 create, 1 write, 2 fsync, 3 append, 4 fsync.
TEST(GuaranteeQuestions, AnAppendIsOpenFromItsBeginningUntilItIsSynced) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 3000).Fsync("a").Write("a", 1, 3000, 500).Fsync("a");
  const auto questions = Questions(script.trace());
  ASSERT_THAT(questions, SizeIs(1));
  const GuaranteeQuestion& question = questions[0];
  EXPECT_EQ(question.kind, Kind::kAppend);
  EXPECT_EQ(question.before.size_bytes(), 3000U);
  EXPECT_EQ(question.after.size_bytes(), 3500U);
  EXPECT_FALSE(question.IsOpen({2, 5})) << "what was there before is not durable";
  EXPECT_FALSE(question.IsOpen({3, 3})) << "it has not begun";
  EXPECT_TRUE(question.IsOpen({3, 4}));
  EXPECT_TRUE(question.IsOpen({3, 5})) << "the sync may have begun, and is not acknowledged";
  EXPECT_FALSE(question.IsOpen({5, 5}));
}

TEST(GuaranteeQuestions, WhatIsNotDurablePutsNone) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 3000).Write("a", 1, 3000, 500).Write("a", 1, 0, 100);
  script.Create("b", 2).Write("b", 2, 0, 10).Rename("b", "a");
  EXPECT_THAT(Questions(script.trace()), SizeIs(0));
}

TEST(GuaranteeQuestions, AnotherOperationOnTheFileEndsIt) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 3000).Sync().Write("a", 1, 0, 3000);
  script.Write("a", 1, 0, 10).Sync();
  const auto questions = Questions(script.trace());
  ASSERT_THAT(questions, SizeIs(1)) << "the second write finds bytes that are not durable";
  EXPECT_EQ(questions[0].kind, Kind::kOverwrite);
  EXPECT_TRUE(questions[0].IsOpen({3, 4}));
  EXPECT_FALSE(questions[0].IsOpen({3, 5}));
}

TEST(GuaranteeQuestions, RenamesTellSyncedFilesFromOthers) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 30).Fsync("a");  // 2
  script.Create("b", 2).Write("b", 2, 0, 60).Fsync("b").Rename("b", "a");
  script.Create("c", 3).Write("c", 3, 0, 90).Rename("c", "a").Sync();
  const auto questions = Questions(script.trace());
  ASSERT_THAT(questions, SizeIs(1)) << "the first rename was not durable when the second came";
  EXPECT_EQ(questions[0].kind, Kind::kRenameSynced);
  EXPECT_EQ(questions[0].path, "a");
  EXPECT_EQ(questions[0].file_before, 1U);
  EXPECT_EQ(questions[0].file_after, 2U);
  EXPECT_TRUE(questions[0].IsOpen({6, 9})) << "until the next rename may have begun";
  EXPECT_FALSE(questions[0].IsOpen({6, 10}));
  Script unsynced;
  unsynced.Create("a", 1).Write("a", 1, 0, 30).Fsync("a");
  unsynced.Create("b", 2).Write("b", 2, 0, 60).Rename("b", "a").Fsync("a");
  ASSERT_THAT(Questions(unsynced.trace()), SizeIs(1));
  EXPECT_EQ(Questions(unsynced.trace())[0].kind, Kind::kRenameUnsynced);
  EXPECT_EQ(Questions(unsynced.trace())[0].settled_at, 6U);
}

TEST(GuaranteeQuestions, AFailureEndsAll) {
  Script script;
  script.Create("a", 1).Write("a", 1, 0, 30).Fsync("a").Write("a", 1, 0, 30);
  script.Create("b", 2).Failed().Create("c", 3).Write("c", 3, 0, 9).Sync().Write("c", 3, 0, 9);
  const auto questions = Questions(script.trace());
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_TRUE(questions[0].IsOpen({3, 4}));
  EXPECT_FALSE(questions[0].IsOpen({3, 5}));
}

TEST(GuaranteeQuestions, ADamagedTraceIsRefused) {
  Script script;
  script.Write("a", 1, 0, 30);
  const auto questions = QuestionsOf(script.trace());
  ASSERT_FALSE(questions.ok());
  EXPECT_THAT(questions.error().ToString(), HasSubstr("trace, operation 0"));
}

}  // namespace
}  // namespace plugpull::workload
