// SPDX-License-Identifier: Apache-2.0
// What quickstart promises its reader, on a recording of a real kernel without barriers:
// journal_guided finds metadata damage within 200 states, a finding is minimised to three lost
// writes at most, and the rule of ordering that broke is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/run/disk_check.h"
#include "framework/run/explain_state.h"
#include "recorded.h"

namespace plugpull::run {
namespace {

constexpr uint32_t kStatesMax = 200;

class JournalGuidedMeta : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!recorded_.ok()) GTEST_FAIL();
    if (recorded_.reader->manifest().variant() != "writeback_nobarrier") {
      GTEST_SKIP() << "nothing can be found: the disk kept its promises in this recording";
    }
    check_.set_disk(recorded_.check.disk());
    check_.set_max_states(kStatesMax);
    check_.add_oracle(FSCK);
    check_.add_enumerate()->mutable_journal_guided();
  }
  MinimizeRequest Ask(const std::string& id) const {
    MinimizeRequest request;
    request.state.recording = GetParam();
    request.state.id = id;
    return request;
  }
  // Small, and with a reason.
  void ExpectExplained(const std::string& id, FindingClass finding) {
    ExplainRequest request;
    request.minimize = Ask(id);
    request.minimize.finding_class = finding;
    request.minimize_first = true;
    const auto said = ExplainState(request);
    ASSERT_TRUE(said.ok()) << said.error().ToString();
    EXPECT_LE(said->lost_count, 3u) << said->id;
    EXPECT_GT(said->lost_count, 0u) << said->id;
    ASSERT_FALSE(said->explanation.rules.empty()) << said->id;
    EXPECT_THAT(said->explanation.rules[0].name, testing::Not(testing::IsEmpty()));
    EXPECT_THAT(said->explanation.verdict, testing::HasSubstr("mounted with nobarrier"));
  }

  Recorded recorded_{GetParam()};
  Check check_;
};

TEST_P(JournalGuidedMeta, FindsMetadataDamageWithinTwoHundredStatesThatIsExplained) {
  auto fsck = oracle::Fsck::Find();
  ASSERT_TRUE(fsck.ok()) << fsck.error().ToString();
  const auto report = CheckDisk(*recorded_.source, check_, nullptr, *fsck, {});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_LE(report->states().enumerated(), kStatesMax);
  const auto found = std::ranges::find_if(report->finding(), [](const Finding& finding) {
    return finding.class_() == METADATA_INCONSISTENT;
  });
  ASSERT_NE(found, report->finding().end());
  ExpectExplained(found->example(), METADATA_INCONSISTENT);
}

TEST_P(JournalGuidedMeta, WhateverItFindsIsMadeSmallAndExplained) {
  const auto states =
      crashstate::EnumerateStates(recorded_.space(), check_, 1, &recorded_.source->timeline())
          .states;
  ASSERT_FALSE(states.empty());
  size_t violated = 0;
  for (size_t i = 0; i < states.size() && violated < 8; i += 7) {
    const std::string id = recorded_.IdOf(states[i]);
    const auto small = MinimizeState(Ask(id));
    if (!small.ok() && small.error().message.find("the state holds") != std::string::npos) continue;
    ASSERT_TRUE(small.ok()) << small.error().ToString();
    ++violated;
    EXPECT_TRUE(small->one_minimal) << id;
    ExpectExplained(small->id, small->finding_class);
  }
  EXPECT_GE(violated, 3u);
}

INSTANTIATE_TEST_SUITE_P(Recordings, JournalGuidedMeta, testing::ValuesIn(RecordingsToTest()),
                         [](const auto& param) { return "R" + std::to_string(param.index); });

}  // namespace
}  // namespace plugpull::run
