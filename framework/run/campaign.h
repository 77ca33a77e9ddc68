// SPDX-License-Identifier: Apache-2.0
// Many plans: records them, several guests at a time, then checks the recordings.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/proto/verdict.pb.h"
#include "framework/run/check.h"
#include "framework/run/record.h"
#include "framework/run/workdir.h"
#include "framework/scenario/plan.h"

namespace plugpull::run {

struct PlannedRun {
  scenario::Plan plan;
  std::string scenario_path;    // as given
  std::string place;            // below the workdir; one for each run
  std::string agent_path = {};  // of the definition that was applied, as given; empty: none
};

struct CampaignOptions {
  unsigned jobs = 1;
  std::string accelerator = "auto";
  // What one run is doing, and how far it is where that is known (total 0: not). Thread-safe.
  std::function<void(const std::string& run, const std::string& what, uint64_t done,
                     uint64_t total)>
      progress;
  vm::MachineFactory start_machine;  // empty: QEMU
  std::optional<GuestImage> image;   // empty: what each plan asks for, fetched and built
};

// One report for each plan, in their order. Errors are in the reports.
ReportList RunCampaign(const std::vector<PlannedRun>& runs, const Workdir& workdir,
                       const CampaignOptions& options);

// Records only: one folder or error for each plan, in their order.
std::vector<Result<std::string>> RecordCampaign(const std::vector<PlannedRun>& runs,
                                                const Workdir& workdir,
                                                const CampaignOptions& options);

}  // namespace plugpull::run
