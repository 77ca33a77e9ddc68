// SPDX-License-Identifier: Apache-2.0
#include "framework/run/uninterrupted.h"

#include <fmt/format.h>

#include "framework/run/state_engine.h"

namespace plugpull::run {

using oracle::Outcome;
using oracle::SameRecovery;

Result<SameRecovery> UninterruptedRecovery(const DiskSource& source,
                                           const RecordedRecovery& recovery, oracle::Fsck& fsck) {
  StateEngine engine(source.space(), source.journal(), source.base_extents(), fsck, {}, nullptr);
  crashstate::StateSpec base;
  base.cut = source.space().first_cut();
  const auto no_measure = [](const std::string& evidence) {
    return UserError(
        fmt::format("SAME_RECOVERY has nothing to compare with: the recorded state, recovered in "
                    "one piece, does not hold: {}",
                    evidence));
  };
  PP_ASSIGN_OR_RETURN(const RecoveredState recovered, engine.MoveTo(base));
  if (recovered.said.outcome != Outcome::kHolds) return no_measure(recovered.said.evidence);
  PP_ASSIGN_OR_RETURN(const Said structure, engine.JudgeStructure());
  if (structure.outcome != Outcome::kHolds) return no_measure(structure.evidence);
  PP_ASSIGN_OR_RETURN(const oracle::WorkImage* work, engine.RecoveredWork());
  const bool kernel = recovery.by() == Nested::KERNEL;
  return SameRecovery::Make(*work, source.journal(), source.history(),
                            kernel ? SameRecovery::Who::kKernel : SameRecovery::Who::kE2fsck);
}

}  // namespace plugpull::run
