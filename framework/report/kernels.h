// SPDX-License-Identifier: Apache-2.0
// The same scenario, variant and seed under several kernels, side by side. A difference is shown
// and never fails anything: each run is judged against what it expects. Each kernel wrote a
// recording of its own, so the crash states differ, and counts are not compared; only what was
// found, where, and how the run ended. All functions are pure.
#pragma once

#include <string>
#include <vector>

#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

struct KernelCell {
  const RunReport* run = nullptr;        // null: the kernel did not run this row
  std::vector<std::string> differences;  // from the row's reference, in words
};

struct KernelRow {
  std::string name;     // of the scenario
  std::string variant;  // may be empty
  uint64_t seed = 0;
  size_t reference = 0;           // the first cell that has a run; the others are compared with it
  std::vector<KernelCell> cells;  // one for each kernel
};

// Points into the reports that it was made of.
struct KernelComparison {
  std::vector<std::string> kernels;  // columns, in the order of their first run
  std::vector<KernelRow> rows;       // what ran under two kernels or more; in the order of the runs
  bool empty() const { return rows.empty(); }
};

// Of several runs of one row under one kernel the first counts.
KernelComparison CompareKernels(const ReportList& reports);

// Where a run of a row belongs; null when it is in none.
const KernelRow* RowOf(const KernelComparison& comparison, const RunReport& run);
const KernelCell* CellOf(const KernelComparison& comparison, const RunReport& run);

// All differences, each with the scenario, the variant and the kernels that it is about.
std::vector<std::string> KernelDifferences(const KernelComparison& comparison);

}  // namespace plugpull::report
