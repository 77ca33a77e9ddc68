// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <set>
#include <string>

#include "framework/base/prng.h"
#include "framework/workload/file_tree.h"
#include "framework/workload/generator.h"
#include "gtest/gtest.h"

namespace plugpull::workload {
namespace {

std::vector<Operation> Generate(const FilesWorkload& options, uint64_t seed,
                                uint32_t workload = 0) {
  auto operations = GenerateFiles(options, seed, workload);
  EXPECT_TRUE(operations.ok());
  return std::move(operations).value();
}

bool IsSync(const Operation& operation) {
  return operation.kind() == Operation::FSYNC || operation.kind() == Operation::FDATASYNC ||
         operation.kind() == Operation::SYNC;
}

struct Tally {
  std::map<Operation::Kind, int> kinds;
  int changes = 0;  // behind the first folders
  int syncs = 0;
  int o_sync = 0;
  int folder_fsyncs = 0;
  int holes = 0;
  int replacing = 0;
  int shrinks = 0;
  int grows = 0;
  int names_again = 0;
  int odd_sizes = 0;
  uint64_t files_max = 0;
};

// Checks that each operation succeeds, and counts what there is.
Tally Check(const std::vector<Operation>& operations, const FilesWorkload& options) {
  Tally tally;
  FileTree tree;
  std::set<std::string> gone;
  std::set<uint64_t> files;
  for (size_t i = 0; i < operations.size(); ++i) {
    const Operation& operation = operations[i];
    ++tally.kinds[operation.kind()];
    if (IsSync(operation)) ++tally.syncs;
    if (!IsSync(operation) && i >= options.folders()) ++tally.changes;
    if (operation.o_sync()) ++tally.o_sync;
    const Binding at = tree.Lookup(operation.path());
    if (operation.kind() == Operation::FSYNC && at.kind == Binding::Kind::kFolder) {
      ++tally.folder_fsyncs;
    }
    if (at.kind == Binding::Kind::kFile) {
      const uint64_t size = tree.FindFile(at.file)->content.size_bytes();
      tally.holes += operation.kind() == Operation::WRITE && operation.offset() > size;
      tally.shrinks += operation.kind() == Operation::TRUNCATE && operation.length() < size;
      tally.grows += operation.kind() == Operation::TRUNCATE && operation.length() > size;
    }
    if (operation.kind() == Operation::WRITE) {
      tally.odd_sizes += operation.length() % 512 != 0;
      EXPECT_LE(operation.length(), options.size_kib_max() * 1024u);
    }
    tally.replacing += operation.kind() == Operation::RENAME &&
                       tree.Lookup(operation.path2()).kind == Binding::Kind::kFile;
    const auto changes = tree.Apply(operation, i);
    EXPECT_TRUE(changes.ok()) << i << " " << changes.error().ToString();
    if (!changes.ok()) return tally;
    for (const NameChange& change : *changes) {
      if (change.after.kind == Binding::Kind::kAbsent)
        gone.insert(change.path);
      else
        tally.names_again += gone.contains(change.path);
      if (change.after.file != 0) files.insert(change.after.file);
    }
    std::erase_if(files, [&](uint64_t file) { return tree.FindFile(file) == nullptr; });
    tally.files_max = std::max<uint64_t>(tally.files_max, files.size());
  }
  return tally;
}

TEST(Generator, EveryKindOfOperationAndObligationAppears) {
  FilesWorkload options;
  options.set_count(2000);
  options.set_files_max(80);
  const auto operations = GenerateFiles(options, 7);
  ASSERT_TRUE(operations.ok());
  const Tally tally = Check(*operations, options);
  for (int kind = Operation::MKDIR; kind <= Operation::RMDIR; ++kind) {
    EXPECT_GT(tally.kinds.at(static_cast<Operation::Kind>(kind)), 5)
        << Operation::Kind_Name(static_cast<Operation::Kind>(kind));
  }
  EXPECT_EQ(tally.changes, 2000);
  EXPECT_LE(tally.files_max, 80u);
  EXPECT_GT(tally.files_max, 20u);
  EXPECT_GT(tally.o_sync, 20);
  EXPECT_GT(tally.folder_fsyncs, 50);
  EXPECT_GT(tally.holes, 20);
  EXPECT_GT(tally.replacing, 20);
  EXPECT_GT(tally.shrinks, 20);
  EXPECT_GT(tally.grows, 5);
  EXPECT_GT(tally.names_again, 20);
  EXPECT_GT(tally.odd_sizes, 200);
}

TEST(Generator, OperationsAreValidWhateverIsAskedFor) {
  for (uint64_t seed = 0; seed < 150; ++seed) {
    Prng prng(seed);
    FilesWorkload options;
    options.set_count(static_cast<uint32_t>(prng.Between(1, 300)));
    options.set_size_kib_max(static_cast<uint32_t>(prng.Between(1, 40)));
    options.set_folders(static_cast<uint32_t>(prng.Between(1, 6)));
    options.set_files_max(static_cast<uint32_t>(prng.Between(1, 30)));
    options.set_sync(static_cast<FilesWorkload::Sync>(prng.Below(4)));
    options.set_weight_create(static_cast<uint32_t>(prng.Between(1, 4)));
    options.set_weight_append(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_overwrite(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_rename(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_link(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_unlink(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_truncate(static_cast<uint32_t>(prng.Below(3)));
    options.set_weight_mkdir(static_cast<uint32_t>(prng.Below(3)));
    const auto operations = GenerateFiles(options, seed, static_cast<uint32_t>(seed % 3));
    ASSERT_TRUE(operations.ok());
    const Tally tally = Check(*operations, options);
    EXPECT_EQ(tally.changes, static_cast<int>(options.count()));
    EXPECT_LE(tally.files_max, options.files_max());
    if (options.sync() == FilesWorkload::NONE) {
      EXPECT_EQ(tally.syncs, 0);
    }
    if (options.sync() == FilesWorkload::SYNC_AT_END) {
      EXPECT_EQ(tally.syncs, 1);
      EXPECT_EQ(operations->back().kind(), Operation::SYNC);
    }
    if (options.sync() == FilesWorkload::FSYNC_EACH) {
      EXPECT_TRUE(IsSync(operations->back()) || operations->back().o_sync() ||
                  operations->back().kind() == Operation::CREATE);
    }
    if (HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST(Generator, SameSeedSameOperations) {
  FilesWorkload options;
  options.set_count(300);
  const auto text = [&](uint64_t seed) {
    std::string all;
    for (const Operation& operation : Generate(options, seed)) {
      all += operation.SerializeAsString();
    }
    return all;
  };
  EXPECT_EQ(text(5), text(5));
  EXPECT_NE(text(5), text(6));
}

TEST(Generator, WorkloadsNeverMeet) {
  FilesWorkload options;
  options.set_count(200);
  std::set<std::string> paths;
  std::set<uint64_t> files;
  for (const Operation& operation : Generate(options, 1, 0)) {
    paths.insert(operation.path());
    files.insert(operation.file());
  }
  for (const Operation& operation : Generate(options, 1, 1)) {
    if (operation.kind() == Operation::SYNC) continue;
    EXPECT_FALSE(paths.contains(operation.path())) << operation.path();
    EXPECT_TRUE(operation.file() == 0 || !files.contains(operation.file()));
  }
}

TEST(Generator, RefusesNumbersOutOfBounds) {
  FilesWorkload options;
  EXPECT_TRUE(GenerateFiles(options, 1).ok());
  const auto refuses = [](auto change) {
    FilesWorkload changed;
    change(changed);
    const auto result = GenerateFiles(changed, 1);
    return !result.ok() && result.error().code == ErrorCode::kUser;
  };
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_count(0); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_count(1'000'001); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_size_kib_max(0); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_folders(1001); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_files_max(0); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_weight_rename(1001); }));
  EXPECT_TRUE(refuses([](FilesWorkload& o) { o.set_weight_create(0); }));
}

}  // namespace
}  // namespace plugpull::workload
