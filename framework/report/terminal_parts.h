// SPDX-License-Identifier: Apache-2.0
// Parts of the report for people: what its text is made of, and the tables over all runs. For this
// folder only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/proto/verdict.pb.h"
#include "framework/report/table.h"
#include "framework/report/text.h"

namespace plugpull::report {

inline constexpr int kLabelWidth = 13;  // of the words on the left of a run's facts
inline constexpr int kIndent = 2;

inline constexpr Table::Kind kText = Table::Kind::kText;
inline constexpr Table::Kind kNumber = Table::Kind::kNumber;

std::string Number(uint64_t value);
std::string Spaces(int count);
// "  label      text", the text wrapped under itself.
std::string Fact(const Style& style, std::string_view label, std::string_view text,
                 Tone tone = Tone::kPlain);
// Names of FindingClass values, one a line; "nothing".
std::string ClassLines(const std::vector<int>& classes);

// Tables over all runs; empty where there is nothing to compare.
std::string SummaryTable(const Style& style, const ReportList& reports);
// A run's agents, one beside the other, where there are several.
std::string AgentMatrix(const Style& style, const ReportList& reports);
// What replaying prefixes alone would have found.
std::string ComparisonTable(const Style& style, const ReportList& reports);
std::string KernelTable(const Style& style, const ReportList& reports);
// Each of what the device models cannot see, once.
std::string BlindSpots(const Style& style, const ReportList& reports);

}  // namespace plugpull::report
