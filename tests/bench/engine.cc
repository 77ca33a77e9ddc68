// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/engine.h"

#include <set>

#include "framework/run/judge.h"

namespace plugpull::bench {
namespace {

Verdict VerdictOf(const run::StateVerdict& verdict) {
  using oracle::Outcome;
  if (verdict.recovery == Outcome::kViolated) return Verdict::kRefused;
  if (verdict.recovery == Outcome::kUnknown) return Verdict::kUnknown;
  if (verdict.structure == Outcome::kViolated) return Verdict::kInconsistent;
  return verdict.structure == Outcome::kHolds ? Verdict::kHolds : Verdict::kUnknown;
}

}  // namespace

Result<Measured> RunEngine(const run::DiskSource& source, const std::vector<size_t>& cuts,
                           bool deduplicate) {
  run::JudgeOptions options;
  options.content = false;
  options.deduplicate = deduplicate;
  std::vector<crashstate::StateSpec> states(cuts.size());
  for (size_t i = 0; i < cuts.size(); ++i) states[i].cut = cuts[i];
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  Measured measured;
  Stopwatch stopwatch;
  run::Judge judge(source.space(), source.journal(), source.base_extents(), nullptr, fsck, options);
  PP_ASSIGN_OR_RETURN(const auto verdicts, judge.Run(states));
  stopwatch.AddTo(measured);
  std::set<image::Fingerprint> distinct;
  for (const run::StateVerdict& verdict : verdicts) {
    measured.verdicts += static_cast<char>(VerdictOf(verdict));
    distinct.insert(verdict.recovered);
  }
  measured.distinct = distinct.size();
  measured.processes = fsck.recoveries() + fsck.checks();
  return measured;
}

}  // namespace plugpull::bench
