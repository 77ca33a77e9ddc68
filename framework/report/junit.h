// SPDX-License-Identifier: Apache-2.0
// The report for CI servers.
#pragma once

#include <string>

#include "framework/proto/verdict.pb.h"

namespace plugpull::report {

// JUnit XML with what the readers have in common (checked against the schema junit-10.xsd of
// Jenkins' xUnit plugin): a testsuite for each scenario, a testcase for each variant.
//   <failure>  a verdict differs from what was expected: the message says which, the text has the
//              evidence and the commands
//   <error>    the run ended in an error, or its recording is incomplete
//   <skipped>  with the reason
// That schema has no properties in a testcase, so seed and kernel are properties of the suite:
// "seed" and "kernel" where all its cases have the same, else "seed.VARIANT", "kernel.VARIANT".
// Each case says its own in system-out too. `time` is in seconds, guest and check together.
std::string RenderJUnit(const ReportList& reports);

}  // namespace plugpull::report
