// SPDX-License-Identifier: Apache-2.0
// "Only new findings fail": this run against an older report.
#pragma once

#include <cstddef>
#include <string_view>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

inline constexpr Bytes kBaselineSizeMax = Mebibytes(256);

// Marks each finding (unknown ones too) that `baseline_json`, what RenderJson made of an older
// check, holds as well: `in_baseline` is set, and it no longer makes its run fail; `expected`
// stays as it is. Findings are the same when scenario, variant, disk, boot, oracle, class and, of a
// step's demand, the step's number are; a baseline without a disk's name matches any disk, and any
// boot when it names none. A class that is expected and was not found,
// an error and an incomplete recording go on failing: a baseline excuses what is seen, not that
// nothing is seen any more.
//
// Returns how many findings were marked. A user error, with `now` as it was, when the baseline is
// longer than kBaselineSizeMax or not such a report.
Result<size_t> FilterAgainstBaseline(ReportList& now, std::string_view baseline_json);

}  // namespace plugpull::report
