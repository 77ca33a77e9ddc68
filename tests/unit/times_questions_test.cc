// SPDX-License-Identifier: Apache-2.0
// The timestamps workload, the questions that its traces put, and what is said of states by hand.
#include "framework/workload/times_questions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "framework/oracle/times.h"
#include "framework/workload/file_tree.h"
#include "framework/workload/history.h"
#include "framework/workload/times_generator.h"
#include "memory_view.h"

namespace plugpull::workload {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Guarantee = GuaranteeReport::Guarantee;

constexpr int64_t kTick = 10'000'000;
constexpr uint64_t kHourNs = 3600ULL * 1'000'000'000;

std::vector<Operation> Generate(uint32_t rounds, bool day, uint32_t workload = 0) {
  TimestampsWorkload options;
  options.set_rounds(rounds);
  options.set_day(day);
  auto operations = GenerateTimestamps(options, workload);
  EXPECT_TRUE(operations.ok());
  return *std::move(operations);
}

// A guest that keeps times as Linux does with relatime, or with noatime; a tick for each operation.
class Guest {
 public:
  explicit Guest(bool noatime = false) : noatime_(noatime) {}

  Guest& Do(const Operation& operation) {
    OperationResult& result = *trace_.add_result();
    result.set_index(static_cast<uint64_t>(trace_.operation_size()));
    result.set_started_ns(static_cast<uint64_t>(now_));
    *trace_.add_operation() = operation;
    Times& times = times_[operation.path()];
    if (operation.look_at_times()) *result.mutable_before() = times;
    Act(operation, times);
    if (operation.look_at_times()) *result.mutable_after() = times;
    now_ += kTick + static_cast<int64_t>(operation.wait_ms()) * 1'000'000;
    result.set_ended_ns(static_cast<uint64_t>(now_));
    return *this;
  }
  Guest& Do(Operation::Kind kind, const std::string& path = "", bool look = false,
            uint64_t offset = 0) {
    Operation operation;
    operation.set_kind(kind);
    operation.set_path(path);
    operation.set_look_at_times(look);
    operation.set_offset(offset);
    if (kind == Operation::WRITE) operation.set_length(1024);
    if (kind == Operation::WAIT) operation.set_wait_ms(offset);
    return Do(operation);
  }
  // A file with a block of data, synced; and another one to sync.
  Guest& Start() {
    Do(Operation::CREATE, "a").Do(Operation::WRITE, "a");
    return Do(Operation::CREATE, "busy").Do(Operation::SYNC);
  }
  Guest& Commit() {
    grown_ += 1024;
    return Do(Operation::WRITE, "busy", false, grown_).Do(Operation::FSYNC, "busy");
  }
  Guest& Fail() {
    trace_.mutable_result(trace_.result_size() - 1)->set_error(5);
    return *this;
  }

  uint64_t last() const { return static_cast<uint64_t>(trace_.operation_size()) - 1; }
  const WorkloadTrace& trace() const { return trace_; }
  std::vector<TimesQuestion> Questions() const {
    auto questions = TimesQuestionsOf(trace_);
    EXPECT_TRUE(questions.ok());
    return *std::move(questions);
  }
  std::vector<TimesQuestion> Questions(Guarantee guarantee) const {
    std::vector<TimesQuestion> of;
    for (TimesQuestion& question : Questions()) {
      if (question.guarantee == guarantee) of.push_back(std::move(question));
    }
    return of;
  }

 private:
  void Act(const Operation& operation, Times& times) const {
    constexpr int64_t kDay = 24 * static_cast<int64_t>(kHourNs);
    switch (operation.kind()) {
      case Operation::CREATE:
      case Operation::MKDIR:
        times.set_atime_ns(now_);
        [[fallthrough]];
      case Operation::WRITE:
        times.set_mtime_ns(now_);
        times.set_ctime_ns(now_);
        return;
      case Operation::CHMOD:
        return times.set_ctime_ns(now_);
      case Operation::READ:
      case Operation::LIST: {
        const bool older = times.atime_ns() <= std::max(times.mtime_ns(), times.ctime_ns());
        if (!noatime_ && (older || now_ - times.atime_ns() >= kDay)) times.set_atime_ns(now_);
        return;
      }
      default:
        return;
    }
  }

  const bool noatime_;
  WorkloadTrace trace_;
  std::map<std::string, Times> times_;
  int64_t now_ = 1'000'000'000'000;
  uint64_t grown_ = 0;
};

Guest Carry(const std::vector<Operation>& operations, bool noatime = false) {
  Guest guest(noatime);
  for (const Operation& operation : operations) guest.Do(operation);
  return guest;
}

TEST(TimesGenerator, EverythingSucceedsOnAHealthyFileSystemAndWorkloadsNeverMeet) {
  std::set<uint64_t> files;
  for (uint32_t workload = 0; workload < 2; ++workload) {
    FileTree tree;
    uint64_t index = 0;
    for (const Operation& operation : Generate(3, true, workload)) {
      const auto applied = tree.Apply(operation, index++);
      ASSERT_TRUE(applied.ok()) << applied.error().ToString();
      if (operation.kind() != Operation::CREATE) continue;
      EXPECT_TRUE(files.insert(operation.file()).second);
    }
  }
  TimestampsWorkload options;
  options.set_rounds(0);
  const auto refused = GenerateTimestamps(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().ToString(), HasSubstr("rounds is 0, it must be from 1 to 1000"));
}

TEST(TimesGenerator, EachRoundPutsEachQuestion) {
  const Guest guest = Carry(Generate(3, true));
  std::map<Guarantee, uint64_t> opened;
  for (const TimesQuestion& question : guest.Questions()) {
    // Some log position must have it open: there is another acknowledged operation before its end.
    bool open = false;
    for (uint64_t i = question.open_from + 1; i < std::min(question.ends_at, guest.last()); ++i) {
      open |= IsAcknowledged(guest.trace().operation(static_cast<int>(i)));
    }
    if (open) ++opened[question.guarantee];
  }
  EXPECT_EQ(opened[GuaranteeReport::TIMES_WITHOUT_TRIGGER], 3U);
  EXPECT_EQ(opened[GuaranteeReport::TIMES_AFTER_OTHER_CHANGE], 3U);
  EXPECT_EQ(opened[GuaranteeReport::TIMES_AFTER_EVICTION], 3U);
  EXPECT_EQ(opened[GuaranteeReport::TIMES_AFTER_FDATASYNC], 3U);
  EXPECT_EQ(opened[GuaranteeReport::TIMES_AFTER_A_DAY], 1U);
  EXPECT_GE(opened[GuaranteeReport::TIMES_AFTER_SYNC], 6U);
  EXPECT_GE(opened[GuaranteeReport::ATIME_OF_FILE], 3U);
  EXPECT_EQ(opened[GuaranteeReport::ATIME_OF_FILE_AGAIN], 3U);
  EXPECT_EQ(opened[GuaranteeReport::ATIME_OF_FILE_NEXT_DAY], 1U);
  EXPECT_EQ(opened[GuaranteeReport::ATIME_OF_FOLDER], 3U);
}

// As ext4 gives inodes out: in order, so that the files that are changed after the first sync(2) of
// a round lie in blocks of their own.
TEST(TimesGenerator, FilesThatAreAskedAboutShareNoBlockOfTheInodeTable) {
  std::map<std::string, uint64_t> inodes;
  std::map<std::string, std::set<uint64_t>> blocks;  // changed ones, by folder
  uint64_t next = 12;
  bool made = false;
  for (const Operation& operation : Generate(2, true)) {
    if (operation.kind() == Operation::MKDIR || operation.kind() == Operation::CREATE) {
      inodes[operation.path()] = next++;
    }
    if (!operation.look_at_times()) continue;
    made = true;
    const uint64_t inode = inodes.at(operation.path());
    for (const auto& [path, other] : inodes) {
      if (path == operation.path() || other / kInodesApart != inode / kInodesApart) continue;
      EXPECT_TRUE(path.find("/p") != std::string::npos) << path << " beside " << operation.path();
    }
  }
  EXPECT_TRUE(made);
}

TEST(TimesQuestions, ASyncOpensAQuestionThatTheNextChangeCloses) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Do(Operation::READ, "a", true);
  const uint64_t read = guest.last();
  guest.Do(Operation::FSYNC, "a").Commit();
  const uint64_t sync = read + 1;
  guest.Do(Operation::WRITE, "a", true);
  const auto questions = guest.Questions(GuaranteeReport::TIMES_AFTER_SYNC);
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_EQ(questions[0].change, read);
  EXPECT_EQ(questions[0].open_from, sync);
  EXPECT_EQ(questions[0].ends_at, guest.last());
  EXPECT_TRUE(questions[0].atime && questions[0].mtime && questions[0].ctime);
  EXPECT_FALSE(questions[0].IsOpen({sync, sync + 1}));
  EXPECT_TRUE(questions[0].IsOpen({sync + 1, guest.last()}));
  EXPECT_FALSE(questions[0].IsOpen({sync + 1, guest.last() + 1}))
      << "the next write may have begun";
}

TEST(TimesQuestions, ACommitForAnotherFileOpensWhatHasNoTriggerOrOneThatPromisesNoMoment) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Commit();
  auto questions = guest.Questions();
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_EQ(questions[0].guarantee, GuaranteeReport::TIMES_WITHOUT_TRIGGER);
  EXPECT_FALSE(questions[0].atime);
  EXPECT_EQ(questions[0].open_from, guest.last());
  guest.Do(Operation::SYNCFS);
  EXPECT_EQ(guest.Questions()[0].ends_at, guest.last()) << "syncfs writes it in any case";
}

TEST(TimesQuestions, AnotherChangeIsNotAskedAboutItsOwnCtime) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Do(Operation::CHMOD, "a", true).Commit();
  const auto questions = guest.Questions();
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_EQ(questions[0].guarantee, GuaranteeReport::TIMES_AFTER_OTHER_CHANGE);
  EXPECT_TRUE(questions[0].mtime);
  EXPECT_FALSE(questions[0].ctime);
}

TEST(TimesQuestions, EvictionIsAskedAboutFromTheNextCommitOn) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Do(Operation::EVICT);
  EXPECT_TRUE(guest.Questions().empty());
  guest.Do(Operation::FSYNC, "busy");
  EXPECT_TRUE(guest.Questions().empty()) << "busy had not changed: nothing was committed";
  guest.Commit();
  const auto questions = guest.Questions();
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_EQ(questions[0].guarantee, GuaranteeReport::TIMES_AFTER_EVICTION);
}

TEST(TimesQuestions, AFileThatGrewBeforeTheChangeProvesNoCommitOfIt) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "busy", false, 4096).Do(Operation::WRITE, "a", true);
  guest.Do(Operation::FSYNC, "busy");
  EXPECT_TRUE(guest.Questions().empty());
}

TEST(TimesQuestions, ADayIsATriggerAndHalfADayLeavesNothingWithoutOne) {
  Guest guest;
  guest.Start()
      .Do(Operation::WRITE, "a", true)
      .Commit()
      .Do(Operation::WAIT, "", false, 36ULL * 3600 * 1000);
  EXPECT_THAT(guest.Questions(GuaranteeReport::TIMES_AFTER_A_DAY), SizeIs(1));
  EXPECT_EQ(guest.Questions(GuaranteeReport::TIMES_WITHOUT_TRIGGER).at(0).ends_at, guest.last());
  Guest short_wait;
  short_wait.Start().Do(Operation::WRITE, "a", true);
  short_wait.Do(Operation::WAIT, "", false, 20ULL * 3600 * 1000);
  EXPECT_TRUE(short_wait.Questions().empty());
}

TEST(TimesQuestions, FdatasyncIsAskedAboutUntilTheNextAcknowledgement) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Do(Operation::FDATASYNC, "a");
  const uint64_t sync = guest.last();
  guest.Commit();
  const uint64_t next = guest.last();
  guest.Commit();
  const auto questions = guest.Questions(GuaranteeReport::TIMES_AFTER_FDATASYNC);
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_TRUE(questions[0].IsOpen({sync + 1, next + 1}));
  EXPECT_FALSE(questions[0].IsOpen({next + 1, guest.last() + 1}));
}

TEST(TimesQuestions, ReadsAreToldApartByWhatWasBeforeThem) {
  Guest guest;
  guest.Start();
  const auto read = [&](Guarantee expected) {
    guest.Do(Operation::READ, "a", true).Do(Operation::FSYNC, "a");
    EXPECT_EQ(guest.Questions().back().guarantee, expected);
    EXPECT_EQ(guest.Questions().back().open_from, guest.last());
  };
  read(GuaranteeReport::ATIME_OF_FILE);
  read(GuaranteeReport::ATIME_OF_FILE_AGAIN);
  guest.Do(Operation::WAIT, "", false, 36ULL * 3600 * 1000);
  read(GuaranteeReport::ATIME_OF_FILE_NEXT_DAY);
  guest.Do(Operation::WRITE, "a");
  read(GuaranteeReport::ATIME_OF_FILE);
}

TEST(TimesQuestions, NothingIsAskedBehindAFailureNorWithoutALook) {
  Guest guest;
  guest.Start().Do(Operation::WRITE, "a", true).Do(Operation::FSYNC, "a");
  ASSERT_THAT(guest.Questions(), SizeIs(1));
  guest.Do(Operation::CHMOD, "busy").Fail();
  EXPECT_EQ(guest.Questions()[0].ends_at, guest.last());
  guest.Do(Operation::WRITE, "a", true).Do(Operation::FSYNC, "a");
  EXPECT_THAT(guest.Questions(), SizeIs(1));
  Guest blind;
  blind.Start().Do(Operation::WRITE, "a").Do(Operation::FSYNC, "a");
  EXPECT_TRUE(blind.Questions().empty());
}

class TimesOracle : public testing::Test {
 protected:
  TimesOracle() {
    guest_.Start().Do(Operation::WRITE, "a", true).Do(Operation::READ, "a", true);
    guest_.Do(Operation::FSYNC, "a");
    view_.AddFile("a", {});
    const Times& times = guest_.trace().result(5).after();
    view_.times["a"] = {times.atime_ns(), times.mtime_ns(), times.ctime_ns()};
  }
  oracle::GuaranteeAnswers Judge() {
    return oracle::JudgeTimes(guest_.Questions(), {guest_.last() + 1, guest_.last() + 1}, view_);
  }

  Guest guest_;
  oracle::MemoryView view_;
};

TEST_F(TimesOracle, TimesThatAreFoundAreKept) {
  const auto said = Judge();
  for (const auto guarantee : {GuaranteeReport::TIMES_AFTER_SYNC, GuaranteeReport::ATIME_OF_FILE}) {
    EXPECT_TRUE(said.asked.Has(guarantee));
    EXPECT_TRUE(said.shown.Has(guarantee));
    EXPECT_FALSE(said.broken.Has(guarantee));
  }
}

TEST_F(TimesOracle, ANanosecondLessIsLost) {
  view_.times["a"].mtime_ns -= 1;
  auto said = Judge();
  EXPECT_TRUE(said.broken.Has(GuaranteeReport::TIMES_AFTER_SYNC));
  EXPECT_FALSE(said.broken.Has(GuaranteeReport::ATIME_OF_FILE));
  EXPECT_THAT(said.evidence.at(GuaranteeReport::TIMES_AFTER_SYNC),
              HasSubstr("/a: mtime is 1000.039999999, it was 1000.040000000; operation 5"));
  view_.times["a"].mtime_ns += 1;
  view_.times["a"].atime_ns = guest_.trace().result(5).before().atime_ns();
  said = Judge();
  EXPECT_TRUE(said.broken.Has(GuaranteeReport::ATIME_OF_FILE));
  EXPECT_THAT(said.evidence.at(GuaranteeReport::TIMES_AFTER_SYNC), HasSubstr("as before"));
}

TEST_F(TimesOracle, AMissingNameIsNotAskedAndADamagedFolderIsUnknown) {
  view_.unreadable_paths.insert("a");
  EXPECT_TRUE(Judge().unknown.Has(GuaranteeReport::TIMES_AFTER_SYNC));
  view_.unreadable_paths.clear();
  view_.names.erase("a");
  EXPECT_FALSE(Judge().asked.Has(GuaranteeReport::TIMES_AFTER_SYNC));
}

TEST(TimesOracleOfReads, AReadThatLeftAtimeAsItWasIsLost) {
  Guest guest(/*noatime=*/true);
  guest.Start().Do(Operation::READ, "a", true).Do(Operation::FSYNC, "a");
  oracle::MemoryView view;
  view.AddFile("a", {});
  const Times& times = guest.trace().result(4).after();
  view.times["a"] = {times.atime_ns(), times.mtime_ns(), times.ctime_ns()};
  const auto said =
      oracle::JudgeTimes(guest.Questions(), {guest.last() + 1, guest.last() + 1}, view);
  EXPECT_FALSE(said.asked.Has(GuaranteeReport::TIMES_AFTER_SYNC)) << "nothing had changed";
  EXPECT_TRUE(said.broken.Has(GuaranteeReport::ATIME_OF_FILE));
  EXPECT_THAT(said.evidence.at(GuaranteeReport::ATIME_OF_FILE),
              HasSubstr("atime was left at 1000.000000000 by it"));
}

}  // namespace
}  // namespace plugpull::workload
