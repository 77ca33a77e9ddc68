// SPDX-License-Identifier: Apache-2.0
#include "framework/run/promises.h"

#include <fmt/format.h>

namespace plugpull::run {

Result<std::vector<KeptPromise>> PromisesOf(const recording::Reader& reader,
                                            const std::string& disk) {
  std::vector<KeptPromise> promises;
  for (const RecordedPromise& recorded : reader.manifest().boot().promise()) {
    if (recorded.disk() != disk) continue;
    PP_ASSIGN_OR_RETURN(const WorkloadTrace trace, reader.ReadTrace(recorded.file()));
    auto index = workload::ObligationIndex::Make(trace);
    if (!index.ok()) {
      return WithContext(index.error(), reader.folder() + "/" + recorded.file());
    }
    if (recorded.begun() < recorded.ended() || recorded.begun() > index->operations()) {
      return UserError(
          fmt::format("{} says that {} of {} operations had ended and {} begun; record again",
                      recorded.file(), recorded.ended(), index->operations(), recorded.begun()));
    }
    promises.push_back({recorded.boot(), *std::move(index), {recorded.ended(), recorded.begun()}});
  }
  return promises;
}

std::string StepThatEndsPromises(const Scenario& boot, const std::string& disk) {
  for (const Step& step : boot.step()) {
    if (step.has_command()) {
      return fmt::format("its command {} may have changed any file", step.command().argv(0));
    }
    if (step.mkfs().disk() == disk) return "it makes a new file system on the disk";
    if (step.corrupt().disk() == disk) return "it damages the disk on purpose";
  }
  return "";
}

}  // namespace plugpull::run
