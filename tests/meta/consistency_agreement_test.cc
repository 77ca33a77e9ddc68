// SPDX-License-Identifier: Apache-2.0
// The consistency check against e2fsck, on thousands of damaged images: never "clean" where e2fsck
// finds something. PLUGPULL_MUTANTS: how many for each feature set; PLUGPULL_MUTANT_SEED.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>

#include "consistency_images.h"
#include "consistency_mutants.h"
#include "framework/ext4/consistency.h"
#include "framework/image/cow_image.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"

namespace plugpull::ext4 {
namespace {

using Outcome = ConsistencyVerdict::Outcome;

// Exit status of `e2fsck -fn`; -1 when it was killed.
int E2fsckStatus(int fd) {
  static const std::string path = *os::FindProgram("e2fsck", "e2fsprogs");
  os::SubprocessOptions options;
  options.argv = {path, "-fn", "/proc/self/fd/3"};
  options.environment = {"LC_ALL=C", "E2FSCK_CONFIG=/dev/null", "E2FSCK_TIME=4000000000"};
  options.pass_fds = {{fd, 3}};
  options.no_core_dump = true;
  const auto run = os::RunProgram(std::move(options), Millis(60000), Bytes(16 << 10));
  EXPECT_TRUE(run.ok());
  return run.ok() && !run->exit.signaled ? run->exit.code : -1;
}

struct Counts {
  uint64_t agree_clean = 0;
  uint64_t agree_wrong = 0;
  uint64_t suspect_but_clean = 0;
  uint64_t unjudged_clean = 0;
  uint64_t unjudged_wrong = 0;
};

class Agreement : public ::testing::TestWithParam<std::string> {};

TEST_P(Agreement, NeverCleanWhereE2fsckIsNot) {
  const uint64_t mutants = std::stoull(os::GetEnv("PLUGPULL_MUTANTS", "25"));
  const uint64_t seed = std::stoull(os::GetEnv("PLUGPULL_MUTANT_SEED", "1"));
  const bool verbose = !os::GetEnv("PLUGPULL_MUTANT_VERBOSE", "").empty();
  const NamedImage made = MakeConsistencyImage(GetParam());
  auto fd = os::MakeMemFile("mutant", Bytes(made.image.size()));
  ASSERT_TRUE(fd.ok());
  auto mapping =
      os::Mapping::Map(fd->get(), Bytes(made.image.size()), os::Mapping::Mode::kReadWriteShared);
  ASSERT_TRUE(mapping.ok());
  const std::span<uint8_t> image = mapping->mutable_bytes();
  std::copy(made.image.begin(), made.image.end(), image.begin());
  ASSERT_EQ(E2fsckStatus(fd->get()), 0);
  Mutator mutator(image, made.earlier);
  const uint32_t block_bytes = mutator.block_bytes();
  image::ContentStore store(block_bytes);
  image::CowImage cow_image(made.image, store);
  ConsistencyChecker checker(cow_image);
  ASSERT_EQ(checker.Check({}).outcome, Outcome::kClean);

  Counts counts;
  for (uint64_t i = 0; i < mutants; ++i) {
    Prng prng(DeriveSeed(seed, GetParam(), i));
    const std::string what = mutator.Mutate(prng);
    const std::string name = fmt::format("{} mutant {} of seed {}: {}", GetParam(), i, seed, what);
    // From the mutant before to this one.
    cow_image.ClearChanges();
    std::vector<uint64_t> old;
    cow_image.ForEachDifference(
        [&](uint64_t block, const image::Content&) { old.push_back(block); });
    for (const uint64_t block : old) {
      if (!mutator.written().contains(block)) cow_image.Set(block, nullptr);
    }
    for (const uint64_t block : mutator.written()) {
      cow_image.SetCopy(block, image.subspan(block * block_bytes, block_bytes));
    }
    const ConsistencyVerdict verdict = checker.Check(cow_image.changes());
    const ConsistencyVerdict fresh = CheckConsistency(image);
    EXPECT_EQ(verdict.outcome, fresh.outcome) << name << "\n"
                                              << verdict.reason << "\n"
                                              << fresh.reason;
    const int status = E2fsckStatus(fd->get());
    if (verdict.outcome == Outcome::kClean) {
      EXPECT_EQ(status, 0) << name;
      ++counts.agree_clean;
    } else if (verdict.outcome == Outcome::kSuspect) {
      ++(status == 0 ? counts.suspect_but_clean : counts.agree_wrong);
      if (verbose && status == 0) fmt::print("{}\n  {}\n", name, verdict.reason);
    } else {
      ++(status == 0 ? counts.unjudged_clean : counts.unjudged_wrong);
    }
    mutator.Undo();
  }
  fmt::print(
      "{}: clean/clean {}, suspect/wrong {}, suspect/clean {}, unjudged/clean {}, "
      "unjudged/wrong {}\n",
      GetParam(), counts.agree_clean, counts.agree_wrong, counts.suspect_but_clean,
      counts.unjudged_clean, counts.unjudged_wrong);
  EXPECT_EQ(E2fsckStatus(fd->get()), 0) << "the damage was not undone";
  // A check that condemns everything would never be wrong.
  EXPECT_GT(counts.agree_clean * 20, mutants);
}

INSTANTIATE_TEST_SUITE_P(All, Agreement, ::testing::ValuesIn(ConsistencyRecipes()),
                         [](const auto& recipe) { return recipe.param; });

}  // namespace
}  // namespace plugpull::ext4
