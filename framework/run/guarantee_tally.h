// SPDX-License-Identifier: Apache-2.0
// Adds up what was observed of guarantees (verdict.proto, GuaranteeReport) over the states of a
// check.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/crashstate/enumerate.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/verdict.pb.h"
#include "framework/run/disk_source.h"
#include "framework/run/judge.h"

namespace plugpull::run {

// One GuaranteeReport for each guarantee that a question was open of in some state, in the order
// of the enumeration. The example is the broken state that lost the fewest writes, the first of
// them. Not counted are
//   states in which a write arrived in part: they are about the disk's atomic unit
//   states whose journal was refused, but for METADATA_CONSISTENT: there is nothing to look at
//   states whose metadata does not hold, for NO_STALE_DATA and the questions of
//   guarantee_questions.h: files may share blocks there
// Unknown are states whose verdict hangs on an unknown order of writes, all questions of states of
// which nobody can say whether their journal or metadata hold, and what is broken where recovery
// is doubtful (fast commits). `command_for` may be empty.
void AddGuarantees(const DiskSource& source, const Check& check,
                   const std::vector<crashstate::StateSpec>& states,
                   const std::vector<StateVerdict>& verdicts,
                   const std::function<std::string(const std::string& id)>& command_for,
                   DiskReport& report);

}  // namespace plugpull::run
