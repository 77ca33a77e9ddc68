// SPDX-License-Identifier: Apache-2.0
// Checks kept recordings of a real guest: the verdicts are those that are known to be right, are
// the same every time, and are borne out by the classic commands on the materialised images.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/superblock.h"
#include "framework/image/fingerprint.h"
#include "framework/oracle/fsck.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "framework/report/json.h"
#include "framework/run/check.h"
#include "framework/run/judge.h"
#include "framework/run/materialize.h"
#include "recorded.h"
#include "tests/support/program.h"

namespace plugpull::run {
namespace {

using oracle::Outcome;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

RunReport Checked(const std::string& name, unsigned jobs) {
  CheckOptions options;
  options.jobs = jobs;
  RunReport report = CheckRecording(GoldenRecording(name), options);
  EXPECT_FALSE(report.has_error()) << report.error();
  report.clear_check_wall_ms();
  return report;
}

// What a machine reads, without times.
std::string Json(RunReport report) {
  ReportList list;
  *list.add_run() = std::move(report);
  return report::RenderJson(list);
}

std::vector<FindingClass> Found(const RunReport& report) {
  std::vector<FindingClass> classes;
  for (const Finding& finding : report.disk(0).finding()) {
    EXPECT_EQ(finding.kind(), Finding::VIOLATED);
    classes.push_back(finding.class_());
  }
  return classes;
}

class EveryRecording : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Golden, EveryRecording, testing::Values("ordered", "writeback_nobarrier"));

TEST_P(EveryRecording, IsJudgedTheSameWhateverTheThreads) {
  const std::string once = Json(Checked(GetParam(), 1));
  EXPECT_EQ(once, Json(Checked(GetParam(), 4)));
  EXPECT_EQ(once, Json(Checked(GetParam(), 1)));
  EXPECT_EQ(once, Json(Checked(GetParam(), 3)));
}

TEST_P(EveryRecording, ReplayedToItsEndIsWhatTheGuestLeft) {
  const Recorded recorded(GoldenRecording(GetParam()));
  ASSERT_TRUE(recorded.ok());
  crashstate::StateCursor cursor(recorded.space());
  cursor.MoveTo(recorded.space().last_cut(), {}, false);
  std::vector<uint8_t> image(cursor.image().size_bytes());
  cursor.image().Read(0, image);
  EXPECT_EQ(image::FingerprintOf(image).ToHex(),
            recorded.reader->FindDisk("vol")->final_image_xxh3());
}

TEST_P(EveryRecording, EveryStateHasAnIdOfItsOwnThatRebuildsIt) {
  const Recorded recorded(GoldenRecording(GetParam()));
  ASSERT_TRUE(recorded.ok());
  crashstate::StateCursor cursor(recorded.space());
  crashstate::StateCursor again(recorded.space());
  for (const auto& spec : recorded.states) {
    const auto id = crashstate::CrashStateId::Parse(recorded.IdOf(spec));
    ASSERT_TRUE(id.ok());
    const auto cut = recorded.space().CutOfEntry(id->cut);
    ASSERT_TRUE(cut.ok());
    const auto lost = recorded.space().LostEvents(*cut, id->selection);
    ASSERT_TRUE(lost.ok()) << lost.error().ToString();
    again.MoveTo(*cut, *lost, id->overlapping_older);
    cursor.MoveTo(spec.cut, recorded.LostOf(spec), spec.overlapping_older);
    ASSERT_EQ(again.image().sum(), cursor.image().sum());
  }
}

TEST(OrderedRecording, Holds) {
  const RunReport report = Checked("ordered", 2);
  EXPECT_TRUE(report.as_expected());
  EXPECT_THAT(report.disk(0).finding(), IsEmpty());
  EXPECT_EQ(report.disk(0).states().holds(), report.disk(0).states().enumerated());
  const CoverageReport& coverage = report.disk(0).coverage();
  EXPECT_GT(coverage.commits(), 20U);
  EXPECT_GT(coverage.tail_moves(), 0U);
  EXPECT_GT(coverage.checkpoints(), 0U);
  EXPECT_GT(coverage.flushes(), 0U);
  EXPECT_FALSE(coverage.weak());
}

TEST(NobarrierRecording, BreaksEveryPromiseAndPrefixDoesNotSeeIt) {
  const RunReport report = Checked("writeback_nobarrier", 2);
  EXPECT_TRUE(report.as_expected());
  EXPECT_THAT(Found(report),
              UnorderedElementsAre(METADATA_INCONSISTENT, JOURNAL_REFUSED, DURABILITY_LOST));
  EXPECT_EQ(report.disk(0).coverage().flushes(), 0U);
  for (const EnumeratorReport& enumerator : report.disk(0).enumerator()) {
    if (enumerator.name().starts_with("prefix")) {
      EXPECT_THAT(enumerator.found(), IsEmpty());
    } else {
      EXPECT_FALSE(enumerator.found().empty()) << enumerator.name();
    }
  }
}

TEST(NobarrierRecording, UnlistedFindingsAreNoSuccess) {
  RunReport report = Checked("writeback_nobarrier", 2);
  report.clear_expected();
  Conclude(report);
  EXPECT_FALSE(report.as_expected());
  report.add_expected(METADATA_INCONSISTENT);
  report.add_expected(JOURNAL_REFUSED);
  Conclude(report);
  EXPECT_FALSE(report.as_expected()) << "one of three is not listed";
  report.add_expected(DURABILITY_LOST);
  Conclude(report);
  EXPECT_TRUE(report.as_expected());
}

TEST(OrderedRecording, AListedFindingThatIsNotThereIsMissed) {
  RunReport report = Checked("ordered", 2);
  report.add_expected(DURABILITY_LOST);
  Conclude(report);
  EXPECT_FALSE(report.as_expected());
  EXPECT_EQ(report.missed(0), DURABILITY_LOST);
}

// --- the classic commands on materialised images

struct ProgramRun {
  int status = -1;
  std::string out;
};

ProgramRun RunTool(const std::string& name, std::vector<std::string> arguments) {
  const auto program = os::FindProgram(name, "e2fsprogs");
  EXPECT_TRUE(program.ok());
  os::SubprocessOptions options;
  options.argv = {*program};
  options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
  options.environment = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000"};
  const auto run = os::RunProgram(options, Millis(60000));
  EXPECT_TRUE(run.ok());
  return {run->exit.signaled ? -1 : run->exit.code, run->out};
}

// All verdicts on a recording.
struct Judged {
  explicit Judged(const std::string& name) : recorded(GoldenRecording(name)) {
    if (!recorded.ok()) return;
    traces = *recorded.reader->ReadTraces("vol");
    obligations = *workload::ObligationIndex::Make(traces.at(0));
    fsck = std::make_unique<oracle::Fsck>(*oracle::Fsck::Find());
    JudgeOptions options;
    options.jobs = 2;
    judge = std::make_unique<Judge>(recorded.space(), recorded.source->journal(),
                                    recorded.source->base_extents(), &*obligations, *fsck, options);
    verdicts = *judge->Run(recorded.states);
  }
  // Writes the image of a state and recovers it with the classic command.
  void Materialize(size_t state, const std::string& path, bool recover = true) const {
    StateImageRequest request;
    request.recording = recorded.reader->folder();
    request.id = recorded.IdOf(recorded.states[state]);
    request.image = path;
    const auto said = WriteStateImage(request);
    ASSERT_TRUE(said.ok()) << said.error().ToString();
    if (recover) RunTool("e2fsck", {"-y", "-E", "journal_only", path});
  }
  // Up to `count` states of which `wanted` is true, spread over all of them.
  std::vector<size_t> Sample(size_t count,
                             const std::function<bool(const StateVerdict&)>& wanted) const {
    std::vector<size_t> all;
    for (size_t i = 0; i < verdicts.size(); ++i) {
      if (wanted(verdicts[i])) all.push_back(i);
    }
    std::vector<size_t> sample;
    for (size_t i = 0; i < std::min(count, all.size()); ++i) {
      sample.push_back(all[i * all.size() / std::min(count, all.size())]);
    }
    return sample;
  }

  Recorded recorded;
  std::vector<WorkloadTrace> traces;
  std::optional<workload::ObligationIndex> obligations;
  std::unique_ptr<oracle::Fsck> fsck;
  std::unique_ptr<Judge> judge;
  std::vector<StateVerdict> verdicts;
};

const Judged& Nobarrier() {
  static const Judged judged("writeback_nobarrier");
  return judged;
}

// The classic recovery also replays a journal that no kernel would: one that is not empty and that
// the superblock does not ask for. Such states are left out of comparisons with it.
bool ClassicRecoveryFits(const std::string& image) {
  const auto text = os::ReadFile(image, Bytes(64 << 20));
  EXPECT_TRUE(text.ok());
  const std::span bytes(reinterpret_cast<const uint8_t*>(text->data()), text->size());
  const auto super = ext4::ParseSuperblock(bytes);
  if (!super.ok() || super->needs_recovery()) return true;
  const auto journal = ext4::FindJournal(bytes);
  if (!journal.ok()) return false;
  const auto journal_super = ext4::ReadJournalSuper(bytes, *journal);
  return journal_super.ok() && journal_super->start == 0;
}

TEST(ClassicCommands, CondemnWhatIsSaidToBeInconsistentAndPassTheRest) {
  const Judged& judged = Nobarrier();
  const TestFolder folder("classic");
  const std::string image = folder / "state.img";
  const std::pair<Outcome, bool> kVerdicts[] = {{Outcome::kViolated, true},
                                                {Outcome::kHolds, false}};
  for (const auto& [outcome, condemned] : kVerdicts) {
    const auto sample = judged.Sample(60, [outcome = outcome](const StateVerdict& verdict) {
      return verdict.recovery == Outcome::kHolds && verdict.structure == outcome;
    });
    size_t compared = 0;
    for (const size_t state : sample) {
      judged.Materialize(state, image, /*recover=*/false);
      if (!ClassicRecoveryFits(image)) continue;
      ++compared;
      RunTool("e2fsck", {"-y", "-E", "journal_only", image});
      EXPECT_EQ((RunTool("e2fsck", {"-fn", image}).status & 4) != 0, condemned)
          << judged.recorded.IdOf(judged.recorded.states[state]);
    }
    EXPECT_GE(compared, 25U);
  }
}

TEST(ClassicCommands, TheExamplesOfTheReportAreWhatItSays) {
  const TestFolder folder("examples");
  const std::string image = folder / "state.img";
  const RunReport report = Checked("writeback_nobarrier", 2);
  for (const Finding& finding : report.disk(0).finding()) {
    StateImageRequest request;
    request.recording = report.recording();
    request.id = finding.example();
    request.image = image;
    const auto said = WriteStateImage(request);
    ASSERT_TRUE(said.ok()) << said.error().ToString();
    EXPECT_THAT(*said, HasSubstr(std::to_string(finding.lost_writes()) + " writes lost"));
    EXPECT_THAT(finding.command(), HasSubstr(finding.example()));
    EXPECT_FALSE(finding.evidence().empty());
    EXPECT_GT(finding.count(), 0U);
    if (finding.class_() != METADATA_INCONSISTENT) continue;
    EXPECT_TRUE(ClassicRecoveryFits(image));
    RunTool("e2fsck", {"-y", "-E", "journal_only", image});
    EXPECT_NE(RunTool("e2fsck", {"-fn", image}).status & 4, 0);
  }
}

// Recovering with the tool's own hands gives what it judged.
TEST(ClassicCommands, TheRecoveredImageIsTheJudgedOne) {
  const Judged& judged = Nobarrier();
  const TestFolder folder("recovered");
  for (const size_t state : judged.Sample(
           15, [](const StateVerdict& verdict) { return verdict.recovery == Outcome::kHolds; })) {
    StateImageRequest request;
    request.recording = judged.recorded.reader->folder();
    request.id = judged.recorded.IdOf(judged.recorded.states[state]);
    request.image = folder / "state.img";
    request.recovered = true;
    ASSERT_TRUE(WriteStateImage(request).ok());
    const bool bad = (RunTool("e2fsck", {"-fn", request.image}).status & 4) != 0;
    EXPECT_EQ(bad, judged.verdicts[state].structure == Outcome::kViolated) << request.id;
  }
}

std::string Bytes32(const TestFolder& folder, const std::string& image, const std::string& path,
                    uint64_t offset) {
  const std::string file = folder / "file";
  (void)os::RemoveAll(file);
  RunTool("debugfs", {"-c", "-n", "-R", "dump " + path + " " + file, image});
  const auto bytes = os::ReadFile(file, Bytes(1 << 20));
  if (!bytes.ok() || bytes->size() <= offset) return {};
  return bytes->substr(offset, 32);
}

// What a violation says of a file, in the words of its evidence.
void ExpectLost(const Judged& judged, size_t state, const TestFolder& folder,
                std::map<std::string, size_t>& kinds) {
  const std::string image = folder / "state.img";
  const std::string& evidence = *judged.verdicts[state].content_evidence;
  SCOPED_TRACE(judged.recorded.IdOf(judged.recorded.states[state]) + ": " + evidence);
  ASSERT_EQ(evidence[0], '/');
  const std::string path = evidence.substr(0, evidence.find(": "));
  const std::string what = evidence.substr(path.size() + 2);
  judged.Materialize(state, image);
  const std::string stat = RunTool("debugfs", {"-c", "-n", "-R", "stat " + path, image}).out;
  if (what.starts_with("is missing")) {
    ++kinds["missing"];
    EXPECT_THAT(stat, HasSubstr("File not found"));
    return;
  }
  if (what.starts_with("is there again")) {
    ++kinds["again"];
    EXPECT_THAT(stat, HasSubstr("Inode: "));
    return;
  }
  if (what.starts_with("is ") && what.find(" bytes long") != std::string::npos) {
    ++kinds["size"];
    EXPECT_THAT(stat, HasSubstr("Size: " + what.substr(3, what.find(' ', 3) - 3) + "\n"));
    return;
  }
  if (!what.starts_with("byte ")) return;
  ++kinds["bytes"];
  const uint64_t offset = std::stoull(what.substr(5));
  const std::string now = Bytes32(folder, image, path, offset);
  if (what.find("holds zeroes") != std::string::npos) {
    EXPECT_EQ(now, std::string(now.size(), '\0'));
  }
  // The same cut with nothing lost has the bytes that were promised.
  StateImageRequest request;
  request.recording = judged.recorded.reader->folder();
  auto whole = judged.recorded.states[state];
  whole.selection = {};
  request.id = judged.recorded.IdOf(whole);
  request.image = image;
  ASSERT_TRUE(WriteStateImage(request).ok());
  RunTool("e2fsck", {"-y", "-E", "journal_only", image});
  EXPECT_NE(Bytes32(folder, image, path, offset), now);
}

TEST(ClassicCommands, WhatIsSaidToBeLostIsNotThere) {
  const Judged& judged = Nobarrier();
  const TestFolder folder("lost");
  const auto lost = judged.Sample(
      40, [](const StateVerdict& verdict) { return verdict.content == Outcome::kViolated; });
  ASSERT_EQ(lost.size(), 40U);
  std::map<std::string, size_t> kinds;
  for (const size_t state : lost) ExpectLost(judged, state, folder, kinds);
  EXPECT_GT(kinds["bytes"], 0U);
  EXPECT_GT(kinds["missing"], 0U);
  EXPECT_GT(kinds["bytes"] + kinds["missing"] + kinds["size"] + kinds["again"], 25U)
      << "too few that debugfs could bear out";
}

}  // namespace
}  // namespace plugpull::run
