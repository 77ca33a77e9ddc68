// SPDX-License-Identifier: Apache-2.0
// Workloads carried out in a scratch folder, and the tree that they leave.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/os/file.h"
#include "framework/workload/content.h"
#include "vm/guest/workload_runner.h"

namespace plugpull::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Operation;

class WorkloadRunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "/workload.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ASSERT_TRUE(os::MakeFolders(folder_ + "/mount").ok());
    request_.set_at(folder_ + "/mount");
    request_.set_workload(3);
    hooks_.write_mark = [this](const blocklog::Mark& mark) {
      marks_.push_back(mark.kind + " " + mark.text);
      return OkStatus();
    };
    hooks_.send_progress = [this](const Progress& progress) {
      EXPECT_EQ(progress.workload(), 3u);
      EXPECT_LE(static_cast<size_t>(progress.result_size()), kResultsPerProgressMax);
      EXPECT_GT(progress.result_size(), 0);
      results_.insert(results_.end(), progress.result().begin(), progress.result().end());
      return OkStatus();
    };
  }
  void TearDown() override { ASSERT_TRUE(os::RemoveAll(folder_).ok()); }

  Operation& Add(Operation::Kind kind, const std::string& path = "",
                 const std::string& path2 = "") {
    Operation& operation = *request_.add_operation();
    operation.set_kind(kind);
    operation.set_path(path);
    operation.set_path2(path2);
    return operation;
  }
  void AddWrite(const std::string& path, uint64_t file, uint64_t offset, uint64_t length,
                bool o_sync = false) {
    Operation& operation = Add(Kind::WRITE, path);
    operation.set_file(file);
    operation.set_offset(offset);
    operation.set_length(length);
    operation.set_o_sync(o_sync);
  }
  std::vector<int> Errors() const {
    std::vector<int> errors;
    for (const auto& result : results_) errors.push_back(result.error());
    return errors;
  }
  std::string Read(const std::string& path) const {
    const auto text = os::ReadFile(request_.at() + "/" + path, Mebibytes(64));
    EXPECT_TRUE(text.ok()) << text.error().ToString();
    return text.ok() ? *text : "";
  }
  static std::string Content(uint64_t file, uint64_t version, uint64_t offset, size_t size) {
    std::string bytes(size, '\0');
    workload::FillContent(file, version, offset, {reinterpret_cast<uint8_t*>(bytes.data()), size});
    return bytes;
  }

  std::string folder_;
  RunWorkload request_;
  WorkloadHooks hooks_;
  std::vector<std::string> marks_;
  std::vector<OperationResult> results_;
};

TEST_F(WorkloadRunnerTest, LeavesTheTreeThatTheOperationsDescribe) {
  Add(Kind::MKDIR, "d0");                          // 0
  Add(Kind::CREATE, "d0/f1");                      // 1
  AddWrite("d0/f1", 1, 0, 5000);                   // 2: version 3
  AddWrite("d0/f1", 1, 100, 50);                   // 3: version 4
  Add(Kind::CREATE, "f2");                         // 4
  AddWrite("f2", 2, 3000000, 10);                  // 5: past the end, version 6
  Add(Kind::LINK, "d0/f1", "f1-too");              // 6
  Add(Kind::RENAME, "d0/f1", "d0/f1-new");         // 7
  Add(Kind::CREATE, "gone");                       // 8
  Add(Kind::UNLINK, "gone");                       // 9
  Add(Kind::MKDIR, "d1");                          // 10
  Add(Kind::RMDIR, "d1");                          // 11
  Add(Kind::TRUNCATE, "f1-too").set_length(4000);  // 12
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  ASSERT_EQ(results_.size(), 13u);
  EXPECT_THAT(Errors(), ::testing::Each(0));
  EXPECT_THAT(*os::ListFolder(request_.at()), ElementsAre("d0", "f1-too", "f2"));
  EXPECT_THAT(*os::ListFolder(request_.at() + "/d0"), ElementsAre("f1-new"));
  std::string expected = Content(1, 3, 0, 4000);
  expected.replace(100, 50, Content(1, 4, 100, 50));
  EXPECT_EQ(Read("d0/f1-new"), expected);
  EXPECT_EQ(Read("f1-too"), expected);
  EXPECT_EQ(Read("f2"), std::string(3000000, '\0') + Content(2, 6, 3000000, 10));
}

TEST_F(WorkloadRunnerTest, AWriteLongerThanTheBufferIsOneContent) {
  Add(Kind::CREATE, "f");
  AddWrite("f", 9, 777, 3'500'001);
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_EQ(Read("f"), std::string(777, '\0') + Content(9, 2, 777, 3'500'001));
}

TEST_F(WorkloadRunnerTest, OnlySyncsThatSucceededAreMarked) {
  Add(Kind::CREATE, "f");              // 0
  Add(Kind::FSYNC, "f");               // 1
  AddWrite("f", 1, 0, 10);             // 2
  AddWrite("f", 1, 0, 10, true);       // 3
  Add(Kind::FDATASYNC, "f");           // 4
  Add(Kind::FSYNC, "");                // 5: the root folder
  Add(Kind::FSYNC, "missing");         // 6
  AddWrite("missing", 2, 0, 1, true);  // 7
  Add(Kind::SYNC);                     // 8
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_THAT(marks_, ElementsAre("ack 3.1", "ack 3.3", "ack 3.4", "ack 3.5", "ack 3.8"));
  EXPECT_THAT(Errors(), ElementsAre(0, 0, 0, 0, 0, 0, ENOENT, ENOENT, 0));
}

TEST_F(WorkloadRunnerTest, TimesAreLookedAtBeforeAndAfter) {
  Add(Kind::MKDIR, "d");   // 0
  Add(Kind::CREATE, "f");  // 1
  AddWrite("f", 1, 0, 10);
  request_.mutable_operation(2)->set_look_at_times(true);
  Add(Kind::CHMOD, "f").set_mode(0600);
  request_.mutable_operation(3)->set_look_at_times(true);
  Add(Kind::READ, "f").set_length(5000);  // 4: more than there is
  Add(Kind::LIST, "d").set_look_at_times(true);
  Add(Kind::READ, "gone").set_look_at_times(true);
  Add(Kind::LIST, "f");
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_THAT(Errors(), ElementsAre(0, 0, 0, 0, 0, 0, ENOENT, ENOTDIR));
  EXPECT_FALSE(results_[1].has_before());
  EXPECT_GT(results_[2].before().mtime_ns(), int64_t{1'500'000'000} * 1'000'000'000);
  EXPECT_GT(results_[2].after().mtime_ns(), results_[2].before().mtime_ns());
  EXPECT_EQ(results_[3].before().mtime_ns(), results_[2].after().mtime_ns());
  EXPECT_GT(results_[3].after().ctime_ns(), results_[3].before().ctime_ns());
  EXPECT_EQ(results_[3].after().mtime_ns(), results_[3].before().mtime_ns());
  EXPECT_TRUE(results_[5].has_after());
  EXPECT_FALSE(results_[6].has_before() || results_[6].has_after());
  struct stat state {};
  ASSERT_EQ(::stat((request_.at() + "/f").c_str(), &state), 0);
  EXPECT_EQ(state.st_mode & 07777, 0600U);
}

TEST_F(WorkloadRunnerTest, WaitsAndSyncsOfTheFileSystemAreMarkedAndEvictionIsTheWorldsAffair) {
  Add(Kind::WAIT).set_wait_ms(1);
  Add(Kind::SYNCFS);
  Add(Kind::EVICT);
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_THAT(marks_, ElementsAre("ack 3.0", "ack 3.1"));
  EXPECT_THAT(Errors(), ElementsAre(0, 0, ENOSYS));
  int evicted = 0;
  hooks_.evict = [&evicted] { return ++evicted, 0; };
  results_.clear();
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_EQ(evicted, 1);
  EXPECT_THAT(Errors(), ElementsAre(0, 0, 0));
  request_.mutable_operation(0)->set_wait_ms(1'000'000'000);
  const auto refused = RunOperations(request_, hooks_);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().ToString(), HasSubstr("a wait of 1000000000 ms is above"));
}

TEST_F(WorkloadRunnerTest, AFailedOperationIsAResultAndTheWorkloadGoesOn) {
  Add(Kind::MKDIR, "d");
  Add(Kind::MKDIR, "d");
  Add(Kind::CREATE, "d/f");
  Add(Kind::CREATE, "d/f");
  Add(Kind::RMDIR, "d");
  Add(Kind::UNLINK, "d/g");
  Add(Kind::RENAME, "d/g", "h");
  Add(Kind::LINK, "d/f", "no/f");
  Add(Kind::CREATE, "d/f/g");
  Add(Kind::TRUNCATE, "d");
  Add(Kind::CREATE, "last");
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_THAT(Errors(), ElementsAre(0, EEXIST, 0, EEXIST, ENOTEMPTY, ENOENT, ENOENT, ENOENT,
                                    ENOTDIR, EISDIR, 0));
}

TEST_F(WorkloadRunnerTest, ResultsAreNumberedAndTimedInOrder) {
  for (int i = 0; i < 700; ++i) Add(Kind::MKDIR, "d" + std::to_string(i));
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  ASSERT_EQ(results_.size(), 700u);
  uint64_t before = 0;
  for (size_t i = 0; i < results_.size(); ++i) {
    EXPECT_EQ(results_[i].index(), i);
    EXPECT_LE(before, results_[i].started_ns());
    EXPECT_LE(results_[i].started_ns(), results_[i].ended_ns());
    before = results_[i].ended_ns();
  }
}

TEST_F(WorkloadRunnerTest, SymbolicLinksLeadNowhere) {
  ASSERT_TRUE(os::MakeFolders(folder_ + "/outside").ok());
  ASSERT_EQ(::symlink("../outside", (request_.at() + "/out").c_str()), 0);
  ASSERT_EQ(::symlink((folder_ + "/outside").c_str(), (request_.at() + "/abs").c_str()), 0);
  Add(Kind::CREATE, "out/f");
  Add(Kind::CREATE, "abs/f");
  Add(Kind::MKDIR, "out/d");
  Add(Kind::FSYNC, "out");
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_THAT(Errors(), ElementsAre(ELOOP, ELOOP, ENOTDIR, ELOOP));
  EXPECT_TRUE(os::ListFolder(folder_ + "/outside")->empty());
}

TEST_F(WorkloadRunnerTest, AnInvalidOperationIsFoundBeforeAnythingIsDone) {
  Add(Kind::MKDIR, "d");
  Add(Kind::CREATE, "../f");
  const auto ran = RunOperations(request_, hooks_);
  ASSERT_FALSE(ran.ok());
  EXPECT_THAT(ran.error().ToString(), HasSubstr("operation 1: the path \"../f\""));
  EXPECT_TRUE(os::ListFolder(request_.at())->empty());
  EXPECT_TRUE(results_.empty());
}

TEST_F(WorkloadRunnerTest, BoundsAreKept) {
  const auto refused = [this](const Operation& operation) {
    request_.clear_operation();
    *request_.add_operation() = operation;
    return !ValidateWorkload(request_).ok();
  };
  Operation operation;
  operation.set_path("f");
  EXPECT_TRUE(refused(operation));  // no kind
  operation.set_kind(Kind::WRITE);
  operation.set_length(kWriteBytesMax.value);
  EXPECT_FALSE(refused(operation));
  operation.set_length(kWriteBytesMax.value + 1);
  EXPECT_TRUE(refused(operation));
  operation.set_length(1);
  operation.set_offset(UINT64_MAX);
  EXPECT_TRUE(refused(operation));
  operation.set_kind(Kind::TRUNCATE);
  operation.set_length(UINT64_MAX);
  EXPECT_TRUE(refused(operation));
  operation.set_kind(Kind::RENAME);
  EXPECT_TRUE(refused(operation));  // no path2
  operation.set_kind(static_cast<Operation::Kind>(99));
  EXPECT_TRUE(refused(operation));
}

TEST_F(WorkloadRunnerTest, AHookThatFailsEndsItAndResultsAreStillSent) {
  for (int i = 0; i < 5; ++i) {
    Add(Kind::CREATE, "f" + std::to_string(i));
    Add(Kind::FSYNC, "f" + std::to_string(i));
  }
  int calls = 0;
  hooks_.write_mark = [&calls](const blocklog::Mark&) {
    return ++calls == 2 ? Status(EnvironmentError("the strip is gone")) : OkStatus();
  };
  const auto ran = RunOperations(request_, hooks_);
  ASSERT_FALSE(ran.ok());
  EXPECT_THAT(ran.error().message, HasSubstr("the strip is gone"));
  EXPECT_EQ(results_.size(), 4u);
}

TEST_F(WorkloadRunnerTest, TheHookBetweenOperationsIsCalledAfterEach) {
  Add(Kind::CREATE, "f");
  Add(Kind::FSYNC, "f");
  int calls = 0;
  hooks_.after_operation = [&] {
    ++calls;
    return OkStatus();
  };
  hooks_.write_mark = {};
  ASSERT_TRUE(RunOperations(request_, hooks_).ok());
  EXPECT_EQ(calls, 2);
}

TEST_F(WorkloadRunnerTest, AMissingMountPointIsAnError) {
  request_.set_at(folder_ + "/nowhere");
  Add(Kind::SYNC);
  EXPECT_FALSE(RunOperations(request_, hooks_).ok());
}

TEST(PathTest, OnlyPlainRelativePaths) {
  for (const char* path : {"a", "a/b", "a/b/c.d", "...", "..a", "a..", ".a"}) {
    EXPECT_TRUE(ValidateRelativePath(path, false).ok()) << path;
  }
  for (const std::string& path :
       {std::string("/a"), std::string("a/"), std::string("a//b"), std::string("."),
        std::string(".."), std::string("a/../b"), std::string("a/.."), std::string("./a"),
        std::string("a\0b", 3), std::string(256, 'x'), std::string(5000, 'x')}) {
    EXPECT_FALSE(ValidateRelativePath(path, true).ok()) << path.substr(0, 20);
  }
  EXPECT_TRUE(ValidateRelativePath(std::string(255, 'x'), false).ok());
  EXPECT_TRUE(ValidateRelativePath("", true).ok());
  EXPECT_FALSE(ValidateRelativePath("", false).ok());
}

}  // namespace
}  // namespace plugpull::guest
