// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/stages.h"

#include <unordered_set>

#include "framework/run/state_engine.h"
#include "tests/bench/measure.h"

namespace plugpull::bench {

Result<Stages> MeasureStages(const run::DiskSource& source, const std::vector<size_t>& cuts) {
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  Stages stages;
  std::unordered_set<image::Fingerprint, image::FingerprintHash> judged;
  double from = ThreadCpuSeconds();
  run::StateEngine engine(source.space(), source.journal(), source.base_extents(), fsck,
                          {.in_process = true, .sample_permille = 0}, nullptr);
  crashstate::StateSpec spec;
  for (const size_t cut : cuts) {
    spec.cut = cut;
    PP_ASSIGN_OR_RETURN(const auto recovered, engine.MoveTo(spec));
    const bool fresh = judged.insert(recovered.fingerprint).second;
    if (++stages.states == 1) {
      const double now = ThreadCpuSeconds();
      stages.set_up_seconds = now - from;
      from = now;
    }
    if (!fresh || recovered.said.outcome != oracle::Outcome::kHolds) continue;
    const double before = ThreadCpuSeconds();
    PP_RETURN_IF_ERROR(engine.JudgeStructure());
    const double after = ThreadCpuSeconds();
    (++stages.distinct == 1 ? stages.check_set_up_seconds : stages.check_seconds) += after - before;
    stages.move_seconds += before - from;
    from = after;
  }
  stages.move_seconds += ThreadCpuSeconds() - from;
  return stages;
}

}  // namespace plugpull::bench
