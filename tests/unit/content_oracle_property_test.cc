// SPDX-License-Identifier: Apache-2.0
// The content oracle against a simulated ext4: it accuses none of the states that an honest one
// can leave, and it sees every deliberate loss. The last tests are about these tests: a judge with
// a defect must fail them.
#include <functional>
#include <optional>

#include "framework/oracle/content.h"
#include "framework/workload/generator.h"
#include "gtest/gtest.h"
#include "simulated_ext4.h"

namespace plugpull::oracle {
namespace {

using workload::Obligations;

using JudgeFunction = std::function<ContentVerdict(const Obligations&, FileSystemView&)>;

ContentVerdict RealJudge(const Obligations& obligations, FileSystemView& view) {
  return JudgeContent(obligations, view);
}

WorkloadTrace MakeTrace(uint64_t seed) {
  Prng prng(DeriveSeed(seed, "options"));
  FilesWorkload options;
  options.set_count(static_cast<uint32_t>(prng.Between(20, 90)));
  options.set_size_kib_max(static_cast<uint32_t>(prng.Between(1, 12)));
  options.set_folders(static_cast<uint32_t>(prng.Between(1, 3)));
  options.set_files_max(static_cast<uint32_t>(prng.Between(2, 12)));
  options.set_sync(prng.Chance(700) ? FilesWorkload::FSYNC_EACH : FilesWorkload::FSYNC_SOME);
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

bool IsSync(const Operation& operation) {
  return operation.kind() == Operation::FSYNC || operation.kind() == Operation::FDATASYNC ||
         operation.kind() == Operation::SYNC || operation.o_sync();
}

// A cut after the first `done` operations, as the marks in a log would tell it.
workload::ObligationKey KeyAt(const WorkloadTrace& trace, uint64_t done, Prng& prng) {
  workload::ObligationKey key{done, done};
  while (key.ended_count > 0 && !IsSync(trace.operation(static_cast<int>(key.ended_count - 1)))) {
    --key.ended_count;
  }
  // The mark of the last sync may come after the cut.
  if (key.ended_count > 0 && prng.Chance(100)) --key.ended_count;
  const uint64_t count = static_cast<uint64_t>(trace.operation_size());
  while (key.begun_count < count && !IsSync(trace.operation(static_cast<int>(key.begun_count)))) {
    ++key.begun_count;
  }
  key.begun_count = std::min(count, key.begun_count + 1);
  return key;
}

struct Count {
  uint64_t states = 0;
  uint64_t accused = 0;
  uint64_t names = 0;
  uint64_t bytes = 0;
  std::string first;  // the first accusation
};

Count JudgeCuts(uint64_t first_seed, uint64_t seeds, SimulatedExt4::Options options,
                const JudgeFunction& judge) {
  Count count;
  for (uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    const WorkloadTrace trace = MakeTrace(seed);
    const auto index = workload::ObligationIndex::Make(trace);
    PP_CHECK(index.ok());
    workload::ObligationTracker tracker(*index);
    Prng prng(DeriveSeed(seed, "cuts"));
    options.block_bytes = prng.Chance(500) ? 1024 : 4096;
    options.writeback_permille = static_cast<uint32_t>(prng.Below(500));
    options.commit_permille = static_cast<uint32_t>(prng.Below(400));
    SimulatedExt4 fs(options, DeriveSeed(seed, "fs"));
    for (uint64_t done = 0; done < static_cast<uint64_t>(trace.operation_size()); ++done) {
      fs.Do(trace.operation(static_cast<int>(done)), done);
      const auto key = KeyAt(trace, done + 1, prng);
      const auto obligations = tracker.At(key);
      PP_CHECK(obligations.ok());
      MemoryView view = fs.Crash();
      const ContentVerdict verdict = judge(**obligations, view);
      ++count.states;
      count.names += verdict.names_checked;
      count.bytes += verdict.bytes_checked;
      if (verdict.outcome == Outcome::kHolds) continue;
      if (++count.accused == 1) {
        count.first = "seed " + std::to_string(seed) + ", after operation " + std::to_string(done) +
                      " (" + std::to_string(key.ended_count) + ", " +
                      std::to_string(key.begun_count) + "): " + verdict.evidence;
      }
    }
  }
  return count;
}

TEST(ContentOracleProperty, NeverAccusesAnHonestFileSystem) {
  const Count count = JudgeCuts(1, 250, {}, RealJudge);
  EXPECT_EQ(count.accused, 0u) << count.first;
  EXPECT_GT(count.states, 20'000u);
  EXPECT_GT(count.names, 100'000u);
  EXPECT_GT(count.bytes, 100'000'000u);
}

TEST(ContentOracleProperty, NeverAccusesUnderDataWriteback) {
  SimulatedExt4::Options options;
  options.data_writeback = true;
  const Count count = JudgeCuts(1000, 250, options, RealJudge);
  EXPECT_EQ(count.accused, 0u) << count.first;
  EXPECT_GT(count.states, 20'000u);
}

TEST(ContentOracleProperty, FindsThatSyncsDoNothing) {
  SimulatedExt4::Options options;
  options.dishonest = true;
  const Count count = JudgeCuts(1, 20, options, RealJudge);
  EXPECT_GT(count.accused, count.states / 2);
}

// One deliberate loss on a file system where everything was synced; nothing when it would change
// nothing.
using Loss = std::function<bool(MemoryView&, const std::string& path, Prng&)>;

bool IsFile(const MemoryView& view, const std::string& path) {
  return view.nodes.at(view.names.at(path)).type == NodeType::kFile;
}

bool LoseName(MemoryView& view, const std::string& path, Prng&) {
  view.names.erase(path);
  return true;
}

bool LoseSector(MemoryView& view, const std::string& path, Prng& prng) {
  if (!IsFile(view, path) || view.BytesOf(path).empty()) return false;
  const std::vector<uint8_t> before = view.BytesOf(path);
  const uint64_t start = prng.Below(before.size()) / 512 * 512;
  view.Zero(path, start, std::min<uint64_t>(512, before.size() - start));
  return view.BytesOf(path) != before;
}

bool FlipByte(MemoryView& view, const std::string& path, Prng& prng) {
  if (!IsFile(view, path) || view.BytesOf(path).empty()) return false;
  view.BytesOf(path)[prng.Below(view.BytesOf(path).size())] ^= 1;
  return true;
}

bool OlderSector(MemoryView& view, const std::string& path, Prng& prng) {
  if (!IsFile(view, path)) return false;
  std::vector<uint8_t>& bytes = view.BytesOf(path);
  const uint64_t cell = prng.Below(bytes.size() / workload::kCellBytes + 1);
  const uint64_t start = cell * workload::kCellBytes;
  if (start + workload::kCellBytes > bytes.size()) return false;
  const auto tag = workload::DecodeCell(std::span(bytes).subspan(start, workload::kCellBytes));
  if (!tag || tag->version < 2) return false;
  view.Fill(path, tag->file, prng.Between(1, tag->version - 1), start, workload::kCellBytes);
  return true;
}

bool ChangeSize(MemoryView& view, const std::string& path, Prng& prng) {
  if (!IsFile(view, path)) return false;
  std::vector<uint8_t>& bytes = view.BytesOf(path);
  const size_t before = bytes.size();
  bytes.resize(prng.Chance(500) ? prng.Below(before + 1) : before + prng.Between(1, 5000));
  return bytes.size() != before;
}

bool SwapWithAnother(MemoryView& view, const std::string& path, Prng&) {
  for (auto& [other, inode] : view.names) {
    if (!IsFile(view, path) || !IsFile(view, other) || inode == view.names[path]) continue;
    if (view.BytesOf(path).empty() && view.BytesOf(other).empty()) continue;
    std::swap(inode, view.names[path]);
    return true;
  }
  return false;
}

// How many losses of each kind the judge does not see.
uint64_t CountMissed(const Loss& lose, const JudgeFunction& judge, uint64_t& tried) {
  uint64_t missed = 0;
  for (uint64_t seed = 5000; seed < 5100; ++seed) {
    WorkloadTrace trace = MakeTrace(seed);
    trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
    trace.add_operation()->set_kind(Operation::SYNC);
    const uint64_t count = static_cast<uint64_t>(trace.operation_size());
    const auto index = workload::ObligationIndex::Make(trace);
    PP_CHECK(index.ok());
    workload::ObligationTracker tracker(*index);
    const auto obligations = tracker.At({count, count});
    PP_CHECK(obligations.ok());
    const MemoryView good = ViewAfter(trace, count);
    Prng prng(seed);
    for (const auto& [path, inode] : good.names) {
      MemoryView view = good;
      if (!lose(view, path, prng)) continue;
      ++tried;
      missed += judge(**obligations, view).outcome != Outcome::kViolated;
    }
  }
  return missed;
}

TEST(ContentOracleProperty, SeesEveryLossOfWhatWasSynced) {
  const struct {
    const char* name;
    Loss lose;
  } losses[] = {{"a name", LoseName},   {"a sector", LoseSector},
                {"a byte", FlipByte},   {"an older version", OlderSector},
                {"a size", ChangeSize}, {"another file", SwapWithAnother}};
  for (const auto& loss : losses) {
    uint64_t tried = 0;
    EXPECT_EQ(CountMissed(loss.lose, RealJudge, tried), 0u) << loss.name;
    EXPECT_GT(tried, 20u) << loss.name;
  }
}

TEST(ContentOracleProperty, SeesEveryRemovedNameThatIsBack) {
  uint64_t tried = 0;
  for (uint64_t seed = 5000; seed < 5100; ++seed) {
    WorkloadTrace trace = MakeTrace(seed);
    trace.add_result()->set_index(static_cast<uint64_t>(trace.operation_size()));
    trace.add_operation()->set_kind(Operation::SYNC);
    const uint64_t count = static_cast<uint64_t>(trace.operation_size());
    const auto index = workload::ObligationIndex::Make(trace);
    ASSERT_TRUE(index.ok());
    for (const workload::NameHistory& name : index->names()) {
      MemoryView view = ViewAfter(trace, count);
      if (view.names.contains(name.path)) continue;
      view.AddFile(name.path, {});
      ++tried;
      const ContentVerdict verdict = JudgeContent(*index, {count, count}, view);
      ASSERT_EQ(verdict.violation_count, 1u) << name.path;
      ASSERT_EQ(verdict.violations[0].kind, ContentViolation::Kind::kNameResurrected);
    }
  }
  EXPECT_GT(tried, 300u);
}

// A judge with a part of the obligations taken away or made too strict.
JudgeFunction Defective(const std::function<void(workload::FileObligation&)>& change) {
  return [change](const Obligations& good, FileSystemView& view) {
    std::vector<std::unique_ptr<workload::FileObligation>> files;
    std::vector<std::unique_ptr<workload::NameObligation>> names;
    Obligations bad{good.key, good.index, {}, {}};
    for (const workload::NameObligation* name : good.names) {
      names.push_back(std::make_unique<workload::NameObligation>(*name));
      for (workload::AllowedBinding& one : names.back()->allowed) {
        if (one.content == nullptr) continue;
        files.push_back(std::make_unique<workload::FileObligation>(*one.content));
        change(*files.back());
        one.content = files.back().get();
      }
      bad.names.push_back(names.back().get());
    }
    return JudgeContent(bad, view);
  };
}

TEST(ContentOracleMeta, ABlindJudgeFails) {
  const JudgeFunction blind = [](const Obligations&, FileSystemView&) { return ContentVerdict(); };
  uint64_t tried = 0;
  EXPECT_EQ(CountMissed(LoseName, blind, tried), tried);
  EXPECT_GT(tried, 0u);
}

TEST(ContentOracleMeta, AJudgeThatDoesNotLookAtBytesFails) {
  uint64_t tried = 0;
  EXPECT_GT(CountMissed(FlipByte, Defective([](auto& file) { file.bytes.clear(); }), tried),
            tried / 2);
}

TEST(ContentOracleMeta, AJudgeThatDoesNotLookAtSizesFails) {
  uint64_t tried = 0;
  EXPECT_GT(CountMissed(ChangeSize, Defective([](auto& file) { file.sizes.clear(); }), tried), 0u);
}

TEST(ContentOracleMeta, AJudgeThatForgetsLaterWritesFails) {
  const auto strict = Defective([](workload::FileObligation& file) {
    for (workload::ByteObligation& owed : file.bytes) owed.later.clear();
  });
  EXPECT_GT(JudgeCuts(1, 40, {}, strict).accused, 0u);
}

TEST(ContentOracleMeta, AJudgeThatForgetsLaterSizesFails) {
  const auto strict = Defective([](workload::FileObligation& file) {
    if (file.sizes.size() > 1) file.sizes.resize(1);
  });
  EXPECT_GT(JudgeCuts(1, 40, {}, strict).accused, 0u);
}

TEST(ContentOracleMeta, AJudgeThatForgetsZeroesOfTruncatesFails) {
  const auto strict = Defective([](workload::FileObligation& file) {
    for (workload::ByteObligation& owed : file.bytes) owed.zeroes_allowed = false;
  });
  EXPECT_GT(JudgeCuts(1, 120, {}, strict).accused, 0u);
}

TEST(ContentOracleMeta, AJudgeThatForgetsLaterNamesFails) {
  const JudgeFunction strict = [](const Obligations& good, FileSystemView& view) {
    std::vector<std::unique_ptr<workload::NameObligation>> names;
    Obligations bad{good.key, good.index, {}, good.files};
    for (const workload::NameObligation* name : good.names) {
      names.push_back(std::make_unique<workload::NameObligation>(*name));
      names.back()->allowed.resize(1);
      bad.names.push_back(names.back().get());
    }
    return JudgeContent(bad, view);
  };
  EXPECT_GT(JudgeCuts(1, 40, {}, strict).accused, 0u);
}

}  // namespace
}  // namespace plugpull::oracle
