// SPDX-License-Identifier: Apache-2.0
// The stale data oracle against a simulated ext4 on a poisoned disk: under data=ordered it accuses
// no state, under data=writeback it finds what is exposed, and it sees what is put into a file on
// purpose. The last tests are about these tests: a judge with a defect must fail them.
#include <gtest/gtest.h>

#include <functional>

#include "framework/image/poison.h"
#include "framework/oracle/stale_data.h"
#include "framework/workload/generator.h"
#include "simulated_ext4.h"

namespace plugpull::oracle {
namespace {

using JudgeFunction = std::function<StaleDataVerdict(const StaleDataIndex&, FileSystemView&)>;

WorkloadTrace MakeTrace(uint64_t seed) {
  Prng prng(DeriveSeed(seed, "options"));
  FilesWorkload options;
  options.set_count(static_cast<uint32_t>(prng.Between(20, 90)));
  options.set_size_kib_max(static_cast<uint32_t>(prng.Between(1, 12)));
  options.set_folders(static_cast<uint32_t>(prng.Between(1, 3)));
  options.set_files_max(static_cast<uint32_t>(prng.Between(2, 12)));
  options.set_sync(prng.Chance(500) ? FilesWorkload::FSYNC_EACH : FilesWorkload::FSYNC_SOME);
  options.set_weight_rename(static_cast<uint32_t>(prng.Between(1, 4)));
  options.set_weight_truncate(static_cast<uint32_t>(prng.Between(1, 4)));
  options.set_weight_link(static_cast<uint32_t>(prng.Between(1, 3)));
  const auto operations = workload::GenerateFiles(options, seed);
  PP_CHECK(operations.ok());
  WorkloadTrace trace;
  for (const Operation& operation : *operations) {
    trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
    *trace.add_operation() = operation;
  }
  return trace;
}

struct Count {
  uint64_t states = 0;
  uint64_t accused = 0;
  uint64_t bytes = 0;
  uint64_t by_kind[4] = {};
  std::string first;  // the first accusation
};

Count JudgeCuts(uint64_t first_seed, uint64_t seeds, SimulatedExt4::Options options,
                const JudgeFunction& judge) {
  Count count;
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    const WorkloadTrace trace = MakeTrace(seed);
    const auto index = workload::ObligationIndex::Make(trace);
    PP_CHECK(index.ok());
    const StaleDataIndex stale(*index);
    Prng prng(DeriveSeed(seed, "cuts"));
    options.block_bytes = prng.Chance(500) ? 1024 : 4096;
    options.writeback_permille = static_cast<uint32_t>(prng.Below(500));
    options.commit_permille = static_cast<uint32_t>(prng.Below(400));
    SimulatedExt4 fs(options, DeriveSeed(seed, "fs"));
    for (uint64_t done = 0; done < static_cast<uint64_t>(trace.operation_size()); ++done) {
      fs.Do(trace.operation(static_cast<int>(done)), done);
      MemoryView view = fs.Crash();
      const StaleDataVerdict verdict = judge(stale, view);
      ++count.states;
      count.bytes += verdict.bytes_checked;
      for (const StaleFile& file : verdict.files) ++count.by_kind[static_cast<size_t>(file.kind)];
      if (verdict.outcome == Outcome::kHolds) continue;
      if (++count.accused == 1) {
        count.first = "seed " + std::to_string(seed) + ", after operation " + std::to_string(done) +
                      ": " + verdict.evidence;
      }
    }
  }
  return count;
}

TEST(StaleDataProperty, NeverAccusesDataOrdered) {
  const Count count = JudgeCuts(1, 250, {}, JudgeStaleData);
  EXPECT_EQ(count.accused, 0U) << count.first;
  EXPECT_GT(count.states, 15'000U);
  EXPECT_GT(count.bytes, 100'000'000U);
}

TEST(StaleDataProperty, FindsWhatDataWritebackExposes) {
  SimulatedExt4::Options options;
  options.data_writeback = true;
  const Count count = JudgeCuts(1000, 60, options, JudgeStaleData);
  EXPECT_GT(count.accused, 500U);
  EXPECT_GT(count.by_kind[static_cast<size_t>(StaleFile::Kind::kPoison)], 300U);
  EXPECT_GT(count.by_kind[static_cast<size_t>(StaleFile::Kind::kOtherFile)], 20U);
  // Of files whose bytes are pieces of several writes.
  EXPECT_LT(count.by_kind[static_cast<size_t>(StaleFile::Kind::kUnrecognised)], 50U);
}

// A defect in a healthy file system: `what` is put in place of a stretch of some file.
using Defect = std::function<void(Prng&, const MemoryView&, uint64_t offset, std::span<uint8_t>)>;

void PutPoison(Prng& prng, const MemoryView&, uint64_t, std::span<uint8_t> out) {
  image::FillPoison(prng.Next(), prng.Below(1 << 20) * 1024, out);
}

// The same stretch of another file, or nothing where there is none.
void PutOtherFile(Prng& prng, const MemoryView& view, uint64_t offset, std::span<uint8_t> out) {
  std::vector<const MemoryView::Node*> files;
  for (const auto& [inode, node] : view.nodes) {
    if (node.type == NodeType::kFile) files.push_back(&node);
  }
  const auto& bytes = files[prng.Below(files.size())]->bytes;
  if (offset + out.size() > bytes.size()) return;
  std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
}

// How many of the defects that change a file the judge misses. Names that stood for more than one
// file are left out: there the oracle is known to see less.
uint64_t CountMissed(const Defect& defect, const JudgeFunction& judge, uint64_t& tried) {
  uint64_t missed = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    const WorkloadTrace trace = MakeTrace(seed);
    const auto index = workload::ObligationIndex::Make(trace);
    PP_CHECK(index.ok());
    const StaleDataIndex stale(*index);
    const MemoryView healthy = ViewAfter(trace, static_cast<uint64_t>(trace.operation_size()));
    Prng prng(DeriveSeed(seed, "defect"));
    for (const auto& [path, inode] : healthy.names) {
      const auto& node = healthy.nodes.at(inode);
      const auto* files = stale.FilesOf(path);
      if (node.type != NodeType::kFile || node.bytes.size() < 1024 || files->size() != 1) continue;
      const uint64_t offset = prng.Below(node.bytes.size() / 1024) * 1024;
      MemoryView view = healthy;
      const auto part = std::span(view.BytesOf(path)).subspan(offset, 1024);
      defect(prng, healthy, offset, part);
      // Zeroes are no defect.
      if (view.BytesOf(path) == node.bytes || workload::HoldsZeroes(part)) continue;
      ++tried;
      if (judge(stale, view).outcome != Outcome::kViolated) ++missed;
    }
  }
  return missed;
}

TEST(StaleDataProperty, SeesPoisonWhereverItIs) {
  uint64_t tried = 0;
  EXPECT_EQ(CountMissed(PutPoison, JudgeStaleData, tried), 0U);
  EXPECT_GT(tried, 300U);
}

TEST(StaleDataProperty, SeesBytesOfOtherFilesWhereverTheyAre) {
  uint64_t tried = 0;
  EXPECT_EQ(CountMissed(PutOtherFile, JudgeStaleData, tried), 0U);
  EXPECT_GT(tried, 100U);
}

StaleDataVerdict Blind(const StaleDataIndex&, FileSystemView&) { return {}; }

TEST(StaleDataMeta, ABlindJudgeFails) {
  uint64_t tried = 0;
  EXPECT_EQ(CountMissed(PutPoison, Blind, tried), tried);
  EXPECT_GT(tried, 0U);
  SimulatedExt4::Options options;
  options.data_writeback = true;
  EXPECT_EQ(JudgeCuts(1000, 10, options, Blind).accused, 0U);
}

// A judge that takes every name for one that it does not know sees poison only.
TEST(StaleDataMeta, AJudgeThatKnowsNoFilesFails) {
  const workload::ObligationIndex nothing = *workload::ObligationIndex::Make({});
  const StaleDataIndex empty(nothing);
  const JudgeFunction ignorant = [&](const StaleDataIndex&, FileSystemView& view) {
    return JudgeStaleData(empty, view);
  };
  uint64_t tried = 0;
  EXPECT_EQ(CountMissed(PutOtherFile, ignorant, tried), tried);
}

// Blocks that were allocated and not yet written may be zeroed: files of nothing else are no crime.
TEST(StaleDataMeta, AJudgeThatAccusesZeroesFails) {
  const JudgeFunction strict = [](const StaleDataIndex& index, FileSystemView& view) {
    StaleDataVerdict verdict = JudgeStaleData(index, view);
    auto root = view.List("");
    PP_CHECK(root.ok());
    for (const std::string& folder : *root) {
      for (const std::string& name : *view.List(folder)) {
        const auto node = *view.Lookup(folder + "/" + name);
        if (!node || node->type != NodeType::kFile || node->size == 0) continue;
        std::vector<uint8_t> bytes(node->size);
        PP_CHECK(view.Read(node->inode, 0, bytes).ok());
        if (bytes.back() == 0 && workload::HoldsZeroes(bytes)) verdict.outcome = Outcome::kViolated;
      }
    }
    return verdict;
  };
  EXPECT_GT(JudgeCuts(1, 60, {}, strict).accused, 0U);
}

}  // namespace
}  // namespace plugpull::oracle
