// SPDX-License-Identifier: Apache-2.0
// What tests of the content oracle ask: does a view hold, or what is found to be violated.
#pragma once

#include <string>

#include "framework/oracle/content.h"
#include "gtest/gtest.h"
#include "memory_view.h"

namespace plugpull::oracle {

using Kind = ContentViolation::Kind;

inline ContentVerdict JudgeAt(const Script& script, workload::ObligationKey key, MemoryView& view) {
  const auto index = workload::ObligationIndex::Make(script.trace());
  EXPECT_TRUE(index.ok()) << index.error().ToString();
  return JudgeContent(*index, key, view);
}

// Every operation has ended, and no more has begun.
inline workload::ObligationKey AllOf(const Script& script) {
  return {script.size(), script.size()};
}

inline void ExpectHolds(const Script& script, workload::ObligationKey key, MemoryView view) {
  const ContentVerdict verdict = JudgeAt(script, key, view);
  EXPECT_EQ(verdict.outcome, Outcome::kHolds) << verdict.evidence;
}

inline ContentViolation ExpectViolated(const Script& script, workload::ObligationKey key,
                                       MemoryView view, Kind kind) {
  const ContentVerdict verdict = JudgeAt(script, key, view);
  EXPECT_EQ(verdict.outcome, Outcome::kViolated);
  if (verdict.violations.empty()) return {};
  EXPECT_STREQ(ContentViolationName(verdict.violations[0].kind), ContentViolationName(kind))
      << verdict.evidence;
  return verdict.violations[0];
}

}  // namespace plugpull::oracle
