// SPDX-License-Identifier: Apache-2.0
// What stands before the text of a kernel message in one line of a log. Of klog.cc; see klog.h for
// the forms.
#pragma once

#include <string_view>

#include "framework/incident/klog.h"

namespace plugpull::incident {

enum class LineForm { kPlain, kStamped, kCtime, kRelative, kDelta, kIso, kSyslog, kUnix, kKmsg };
inline constexpr int kLineForms = 9;
const char* LineFormWords(LineForm form);

struct ParsedLine {
  LineForm form = LineForm::kPlain;
  Stamp at;
  int priority = -1;
  bool kernel = true;  // false: another program's line
  std::string_view text;
};

// Times that say only how they differ from the line before, or leave out the year.
class LineClock {
 public:
  // Month and day from 1. Without a year it is one in which no date goes back by half a year.
  Stamp Wall(std::optional<int> year, int month, int day, int64_t us_of_day);
  Stamp RelativeMinute(int month, int day, int64_t us_of_day);
  Stamp RelativeStep(int64_t us);
  Stamp Delta(int64_t us);

 private:
  int year_ = 2000;  // a leap year, so that the 29th of February is a day
  int month_ = 0;
  int64_t relative_us_ = 0;
  int64_t delta_us_ = 0;
};

ParsedLine ParseLine(std::string_view line, LineClock& clock);

}  // namespace plugpull::incident
