// SPDX-License-Identifier: Apache-2.0
// Traces come from recordings, which may be damaged: the index takes them or refuses them.
#include <string>

#include "framework/base/prng.h"
#include "framework/workload/generator.h"
#include "framework/workload/history.h"
#include "framework/workload/obligations.h"
#include "gtest/gtest.h"

namespace plugpull::workload {
namespace {

WorkloadTrace GoodTrace(uint32_t count, uint64_t seed) {
  FilesWorkload options;
  options.set_count(count);
  options.set_files_max(20);
  const auto operations = GenerateFiles(options, seed);
  WorkloadTrace trace;
  for (const Operation& operation : *operations) {
    trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
    *trace.add_operation() = operation;
  }
  return trace;
}

void ExpectRefused(const WorkloadTrace& trace, const std::string& words) {
  const auto index = ObligationIndex::Make(trace);
  ASSERT_FALSE(index.ok());
  EXPECT_EQ(index.error().code, ErrorCode::kUser);
  EXPECT_NE(index.error().ToString().find(words), std::string::npos) << index.error().ToString();
}

TEST(ObligationIndex, TakesAGoodTrace) {
  WorkloadTrace trace = GoodTrace(300, 3);
  trace.set_workload(2);
  const auto index = ObligationIndex::Make(trace);
  ASSERT_TRUE(index.ok()) << index.error().ToString();
  EXPECT_EQ(index->operations(), static_cast<uint64_t>(trace.operation_size()));
  EXPECT_EQ(index->workload(), 2u);
}

TEST(ObligationIndex, AnEmptyTraceOwesNothing) {
  const auto index = ObligationIndex::Make({});
  ASSERT_TRUE(index.ok());
  ObligationTracker tracker(*index);
  const auto obligations = tracker.At({0, 0});
  ASSERT_TRUE(obligations.ok());
  EXPECT_TRUE((*obligations)->names.empty());
}

TEST(ObligationIndex, RefusesDamagedTraces) {
  const WorkloadTrace good = GoodTrace(50, 3);
  const auto with = [&](auto change) {
    WorkloadTrace trace = good;
    change(trace);
    return trace;
  };
  ExpectRefused(with([](auto& t) { t.mutable_result(5)->set_index(4); }), "damaged");
  ExpectRefused(with([](auto& t) { t.mutable_result(5)->set_index(1'000'000); }), "damaged");
  ExpectRefused(with([](auto& t) { t.add_result()->set_index(0); }), "damaged");
  ExpectRefused(with([](auto& t) { t.mutable_operation(0)->set_path("/d0"); }), "operation 0");
  ExpectRefused(with([](auto& t) { t.mutable_operation(0)->set_path("a/../b"); }), "operation 0");
  ExpectRefused(with([](auto& t) { t.mutable_operation(0)->set_path(std::string(5000, 'x')); }),
                "5000");
  ExpectRefused(with([](auto& t) { t.mutable_operation(1)->set_path("d0"); }), "exists already");
  ExpectRefused(
      with([](auto& t) { t.mutable_operation(7)->set_kind(static_cast<Operation::Kind>(99)); }),
      "99");
  ExpectRefused(with([](auto& t) {
                  for (auto& operation : *t.mutable_operation()) {
                    if (operation.kind() == Operation::WRITE) operation.set_length(UINT64_MAX);
                  }
                }),
                "past");
}

TEST(ObligationTracker, RefusesCutsOfAnotherTrace) {
  const auto index = ObligationIndex::Make(GoodTrace(50, 3));
  ASSERT_TRUE(index.ok());
  ObligationTracker tracker(*index);
  const uint64_t count = index->operations();
  EXPECT_TRUE(tracker.At({count, count}).ok());
  EXPECT_FALSE(tracker.At({count, count + 1}).ok());
  EXPECT_FALSE(tracker.At({5, 4}).ok());
}

// Random damage: an error or obligations, never a crash (the sanitizers watch).
TEST(ObligationIndex, SurvivesRandomDamage) {
  const WorkloadTrace good = GoodTrace(120, 4);
  int taken = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    Prng prng(seed);
    WorkloadTrace trace = good;
    for (uint64_t damage = prng.Between(1, 6); damage > 0; --damage) {
      const auto any = [&] {
        return static_cast<int>(prng.Below(static_cast<uint64_t>(trace.operation_size())));
      };
      Operation& operation = *trace.mutable_operation(any());
      switch (prng.Below(8)) {
        case 0:
          operation.set_kind(static_cast<Operation::Kind>(prng.Below(13)));
          break;
        case 1:
          operation.set_path(trace.operation(any()).path());
          break;
        case 2:
          operation.set_path2(trace.operation(any()).path());
          break;
        case 3:
          operation.set_file(prng.Below(30));
          break;
        case 4:
          operation.set_offset(prng.Next() >> prng.Below(64));
          break;
        case 5:
          operation.set_length(prng.Next() >> prng.Below(64));
          break;
        case 6:
          trace.mutable_result(any() % trace.result_size())->set_error(28);
          break;
        default:
          while (trace.result_size() > any() + 1) trace.mutable_result()->RemoveLast();
          break;
      }
    }
    // An early failure makes the rest of the damage a matter of doubt, not an error.
    if (prng.Chance(700)) trace.mutable_result(0)->set_error(5);
    const auto index = ObligationIndex::Make(trace);
    if (!index.ok()) continue;
    ++taken;
    ObligationTracker tracker(*index);
    for (int i = 0; i < 20; ++i) {
      const uint64_t begun = prng.Between(0, index->operations());
      ASSERT_TRUE(tracker.At({prng.Between(0, begun), begun}).ok());
    }
  }
  EXPECT_GT(taken, 100);
}

std::string Text(const FileObligation& file) {
  std::string text = "file " + std::to_string(file.file) + ":";
  for (const SizeRange& size : file.sizes) {
    text += " " + std::to_string(size.low_bytes) + "-" + std::to_string(size.high_bytes);
  }
  for (const ByteObligation& owed : file.bytes) {
    text += " [" + std::to_string(owed.start) + "," + std::to_string(owed.end) +
            ")=" + std::to_string(owed.version) + "/" + std::to_string(owed.sync);
    for (const uint64_t version : owed.later) text += "," + std::to_string(version);
    if (owed.zeroes_allowed) text += ",0";
  }
  return text;
}

std::string Text(const Obligations& obligations) {
  std::string text;
  for (const NameObligation* name : obligations.names) {
    text += *name->path + " " + std::to_string(name->sync) + ":";
    for (const AllowedBinding& one : name->allowed) {
      text += " " + std::to_string(static_cast<int>(one.binding.kind));
      if (one.content != nullptr) text += Text(*one.content);
    }
    text += "\n";
  }
  for (const ReachObligation* reach : obligations.files) {
    text += Text(*reach->content) + " under";
    for (const std::string* name : reach->names) text += " " + *name;
    text += "\n";
  }
  return text;
}

// What a tracker remembers from earlier cuts never shows.
TEST(ObligationTracker, GivesTheSameWhateverWasAskedBefore) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    WorkloadTrace trace = GoodTrace(200, seed);
    Prng prng(seed);
    for (int i = 0; i < 3; ++i) {
      const auto position = prng.Below(static_cast<uint64_t>(trace.result_size()));
      trace.mutable_result(static_cast<int>(position))->set_error(5);
    }
    const auto index = ObligationIndex::Make(trace);
    ASSERT_TRUE(index.ok());
    ObligationTracker old(*index);
    for (int i = 0; i < 100; ++i) {
      const uint64_t begun = prng.Between(0, index->operations());
      const ObligationKey key{prng.Between(begun - std::min<uint64_t>(begun, 10), begun), begun};
      ObligationTracker fresh(*index);
      ASSERT_EQ(Text(**old.At(key)), Text(**fresh.At(key)));
    }
  }
}

TEST(ObligationKey, CutsWithTheSameCountsAreOne) {
  EXPECT_EQ((ObligationKey{3, 5}), (ObligationKey{3, 5}));
  EXPECT_NE(std::hash<ObligationKey>()({3, 5}), std::hash<ObligationKey>()({5, 3}));
}

}  // namespace
}  // namespace plugpull::workload
