// SPDX-License-Identifier: Apache-2.0
// Every input that the repository keeps for a fuzzer, through the same entry point, on every
// machine: what was found once stays mended. An entry point aborts on what it finds.
//
// PLUGPULL_UPDATE_CORPUS=1 makes the images and the seeds anew; inputs that fuzzers found stay.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "framework/os/file.h"
#include "fuzz_seeds.h"
#include "tests/fuzz/hostile_image.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

using ::testing::Not;
using ::testing::SizeIs;

constexpr char kFolder[] = PLUGPULL_SOURCE_DIR "/tests/fuzz/";
constexpr uint64_t kCorpusBytesMax = 1 << 20;

const std::map<std::string, std::function<void(Input)>>& Targets() {
  static const std::map<std::string, std::function<void(Input)>> targets = {
      {"consistency", FuzzConsistency}, {"crash_state_id", FuzzCrashStateId},
      {"incident", FuzzIncident},       {"journal", FuzzJournal},
      {"log_reader", FuzzLogReader},    {"recovery", FuzzRecovery},
      {"superblock", FuzzSuperblock},
  };
  return targets;
}

std::vector<std::string> Names(const std::string& folder) {
  const auto names = os::ListFolder(folder);
  EXPECT_TRUE(names.ok()) << names.error().ToString();
  return names.ok() ? *names : std::vector<std::string>();
}

void Write(const std::string& path, const std::vector<uint8_t>& bytes) {
  const Status written =
      os::WriteFileAtomic(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  ASSERT_TRUE(written.ok()) << written.error().ToString();
}

class FuzzCorpus : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (os::GetEnv("PLUGPULL_UPDATE_CORPUS", "").empty()) return;
    const std::vector<NamedBytes> images = MakeBaseImages();
    ASSERT_TRUE(os::MakeFolders(std::string(kFolder) + "images").ok());
    for (const auto& [name, bytes] : images) Write(std::string(kFolder) + "images/" + name, bytes);
    for (const Seed& seed : MakeSeeds(images.size())) {
      const std::string folder = std::string(kFolder) + "corpus/" + seed.target;
      ASSERT_TRUE(os::MakeFolders(folder).ok());
      Write(folder + "/seed-" + seed.name, seed.bytes);
    }
  }
};

TEST_F(FuzzCorpus, EveryInputOfEveryTargetIsTaken) {
  std::vector<std::string> targets;
  uint64_t bytes = 0;
  for (const auto& [target, run] : Targets()) {
    targets.push_back(target);
    const std::string folder = std::string(kFolder) + "corpus/" + target;
    const auto names = Names(folder);
    EXPECT_THAT(names, Not(SizeIs(0))) << target;
    for (const std::string& name : names) {
      SCOPED_TRACE(target + "/" + name);  // the last one printed is the one that aborted
      const auto input = os::ReadFile(folder + "/" + name, Bytes(kCorpusBytesMax));
      ASSERT_TRUE(input.ok()) << input.error().ToString();
      bytes += input->size();
      run({reinterpret_cast<const uint8_t*>(input->data()), input->size()});
    }
  }
  EXPECT_EQ(Names(std::string(kFolder) + "corpus"), targets) << "a corpus without a target";
  EXPECT_LT(bytes, kCorpusBytesMax);
}

TEST_F(FuzzCorpus, APatchedImageIsPutBack) {
  for (uint8_t i = 0; i < BaseImages().size(); ++i) {
    const auto& base = BaseImages()[i];
    const std::vector<uint8_t> input = {i, kSealJournal | kSealSuper, 2, 0, 2, 3, 1, 4, 5};
    {
      const HostileImage image(input, Target::kEverything);
      ASSERT_EQ(image.base().name, base.name);
      EXPECT_FALSE(std::equal(base.bytes.begin(), base.bytes.end(), image.bytes().begin()));
    }
    const std::vector<uint8_t> nothing = {i, 0};
    const HostileImage image(nothing, Target::kEverything);
    EXPECT_TRUE(std::equal(base.bytes.begin(), base.bytes.end(), image.bytes().begin()));
  }
}

// Seals are right when the code under test says so: the same transactions as before a patch that
// only checksums could notice.
TEST_F(FuzzCorpus, SealedPatchesReachReplay) {
  size_t with_transactions = 0;
  for (uint8_t i = 0; i < BaseImages().size(); ++i) {
    const auto& base = BaseImages()[i];
    const auto before = ext4::InspectJournal(base.bytes, base.journal);
    if (before.transactions == 0) continue;
    ++with_transactions;
    // The last byte of the second block of the log: data, in every image.
    const std::vector<uint8_t> patched = {i, kSealJournal, 0, 2, 0xff, 0x03, 0x77};
    const HostileImage sealed(patched, Target::kEverything);
    const auto after = ext4::InspectJournal(sealed.bytes(), sealed.base().journal);
    EXPECT_EQ(after.outcome, ext4::JournalInspection::Outcome::kReplays) << after.reason;
    EXPECT_EQ(after.transactions, before.transactions) << base.name;
  }
  EXPECT_GE(with_transactions, 4U);
}

}  // namespace
}  // namespace plugpull::fuzz
