// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/klog_line.h"

#include <algorithm>
#include <array>

#include "framework/incident/scan.h"

namespace plugpull::incident {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kMinuteUs = 60 * kSecondUs;
constexpr int64_t kDayUs = 24 * 60 * kMinuteUs;

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"Mon", "Tue", "Wed", "Thu",
                                                       "Fri", "Sat", "Sun"};
constexpr std::array<std::string_view, 8> kLevels = {"emerg", "alert",  "crit", "err",
                                                     "warn",  "notice", "info", "debug"};

// Days from 1970-01-01 to a date of the Gregorian calendar, whose years begin in March here.
int64_t DaysOf(int year, int month, int day) {
  const int64_t y = month > 2 ? year : year - 1;
  const int64_t month_from_march = month > 2 ? month - 3 : month + 9;
  const int64_t leap_days = y / 4 - y / 100 + y / 400;
  return y * 365 + leap_days + (month_from_march * 153 + 2) / 5 + day - 1 - 719468;
}

std::optional<int> TakeMonth(Scan& scan) {
  for (size_t i = 0; i < kMonths.size(); ++i) {
    if (scan.Take(kMonths[i])) return static_cast<int>(i) + 1;
  }
  return std::nullopt;
}

bool TakeWeekday(Scan& scan) {
  return std::any_of(kWeekdays.begin(), kWeekdays.end(),
                     [&](std::string_view day) { return scan.Take(day); });
}

// "15:26" or "15:26:07", the latter with decimals behind `point`.
std::optional<int64_t> TakeTimeOfDay(Scan& scan, bool seconds, char point) {
  Scan at = scan;
  const auto hour = at.TakeNumber(2, 2);
  if (!hour || *hour > 23 || !at.Take(":")) return std::nullopt;
  const auto minute = at.TakeNumber(2, 2);
  if (!minute || *minute > 59) return std::nullopt;
  int64_t us = (*hour * 60 + *minute) * kMinuteUs;
  if (seconds) {
    if (!at.Take(":")) return std::nullopt;
    const auto second = at.TakeSeconds(point);
    if (!second || *second >= 61 * kSecondUs) return std::nullopt;
    us += *second;
  }
  scan = at;
  return us;
}

// "2026-11-23", of a year that a log can have.
struct Date {
  int year, month, day;
};
std::optional<Date> TakeDate(Scan& scan) {
  Scan at = scan;
  const auto year = at.TakeNumber(4, 4);
  if (!year || *year < 1970 || !at.Take("-")) return std::nullopt;
  const auto month = at.TakeNumber(2, 2);
  if (!month || *month < 1 || *month > 12 || !at.Take("-")) return std::nullopt;
  const auto day = at.TakeNumber(2, 2);
  if (!day || *day < 1 || *day > 31) return std::nullopt;
  scan = at;
  return Date{static_cast<int>(*year), static_cast<int>(*month), static_cast<int>(*day)};
}

// "Z", "+01:00", "+0100": the offset in microseconds, or nothing there.
int64_t TakeZone(Scan& scan) {
  Scan at = scan;
  if (at.Take("Z")) {
    scan = at;
    return 0;
  }
  const bool west = at.Peek() == '-';
  if (!at.Take("+") && !at.Take("-")) return 0;
  const std::string_view text = at.rest();
  const bool colon = text.size() >= 5 && text[2] == ':';
  Scan hours(text.substr(0, 2));
  Scan minutes(text.substr(std::min<size_t>(colon ? 3 : 2, text.size()), 2));
  const auto h = hours.TakeNumber(2, 2);
  const auto m = minutes.TakeNumber(2, 2);
  if (!h || !m) return 0;
  at = Scan(text.substr(colon ? 5 : 4));
  scan = at;
  const int64_t us = (*h * 60 + *m) * kMinuteUs;
  return west ? -us : us;
}

// "[   12.345678]" and what dmesg makes of it.
bool TakeBracket(Scan& scan, LineClock& clock, ParsedLine& line) {
  Scan at = scan;
  if (!at.Take("[")) return false;
  const auto finish = [&](LineForm form, Stamp stamp) {
    at.TakeSpaces();
    if (at.Take("<")) {  // dmesg -d
      at.TakeSpaces();
      if (!at.TakeSeconds('.') || !at.Take(">")) return false;
    }
    if (!at.Take("]")) return false;
    line.form = form;
    line.at = stamp;
    scan = at;
    return true;
  };
  Scan ctime = at;
  if (TakeWeekday(ctime) && ctime.Take(" ")) {
    const auto month = TakeMonth(ctime);
    ctime.TakeSpaces();
    const auto day = ctime.TakeNumber(1, 2);
    const auto time = ctime.Take(" ") ? TakeTimeOfDay(ctime, true, '.') : std::nullopt;
    const auto year = ctime.Take(" ") ? ctime.TakeNumber(4, 4) : std::nullopt;
    if (!month || !day || !time || !year) return false;
    at = ctime;
    return finish(LineForm::kCtime,
                  clock.Wall(static_cast<int>(*year), *month, static_cast<int>(*day), *time));
  }
  if (const auto month = TakeMonth(at)) {  // dmesg -H: a new minute
    at.TakeSpaces();
    const auto day = at.TakeNumber(1, 2);
    const auto time = at.Take(" ") ? TakeTimeOfDay(at, false, '.') : std::nullopt;
    if (!day || !time) return false;
    return finish(LineForm::kRelative, clock.RelativeMinute(*month, static_cast<int>(*day), *time));
  }
  at.TakeSpaces();
  if (at.Take("+")) {
    const auto step = at.TakeSeconds('.');
    return step && finish(LineForm::kRelative, clock.RelativeStep(*step));
  }
  if (at.Peek() == '<') {
    Scan delta = at;
    delta.Take("<");
    delta.TakeSpaces();
    const auto step = delta.TakeSeconds('.');
    return step && finish(LineForm::kDelta, clock.Delta(*step));
  }
  const bool has_point = at.rest().substr(0, 13).find('.') != std::string_view::npos;
  const auto us = has_point ? at.TakeSeconds('.') : std::nullopt;
  return us && finish(LineForm::kStamped, {Stamp::Clock::kBoot, *us});
}

// "[   T12]" or "[   C0]": task or processor that printed (CONFIG_PRINTK_CALLER).
void TakeCaller(Scan& scan) {
  Scan at = scan;
  at.TakeSpaces();
  if (!at.Take("[")) return;
  at.TakeSpaces();
  if (!at.Take("T") && !at.Take("C")) return;
  if (at.TakeNumber(1, 10) && at.Take("]")) scan = at;
}

// "<6>", of syslog(3): facility * 8 + level.
bool TakePriority(Scan& scan, ParsedLine& line) {
  Scan at = scan;
  if (!at.Take("<")) return false;
  const auto number = at.TakeNumber(1, 3);
  if (!number || *number > 191 || !at.Take(">")) return false;
  line.priority = static_cast<int>(*number & 7);
  line.kernel = *number < 8;
  scan = at;
  return true;
}

// "kern  :info  : ", of dmesg -x.
void TakeDecoded(Scan& scan, ParsedLine& line) {
  Scan at = scan;
  std::string_view rest = at.rest();
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos || colon > 10) return;
  std::string_view facility = rest.substr(0, colon);
  facility = facility.substr(0, facility.find(' '));
  rest.remove_prefix(colon + 1);
  for (size_t i = 0; i < kLevels.size(); ++i) {
    if (!rest.starts_with(kLevels[i])) continue;
    at = Scan(rest.substr(kLevels[i].size()));
    at.TakeSpaces();
    if (!at.Take(":")) return;
    at.TakeSpaces();
    line.priority = static_cast<int>(i);
    line.kernel = facility == "kern";
    scan = at;
    return;
  }
}

bool IsProgramTag(std::string_view word) {
  if (!word.ends_with(':') || word.size() < 2) return false;
  word.remove_suffix(1);
  return std::all_of(word.begin(), word.end(), [](char c) {
    return IsLetter(c) || IsDigit(c) || std::string_view("_-./@()[]").find(c) != std::string::npos;
  });
}

// "host kernel: ". `host_sure`: such a line always has a host and the name of a program.
void TakeHostAndProgram(Scan& scan, bool host_sure, ParsedLine& line) {
  Scan at = scan;
  if (at.Take("kernel: ")) {
    scan = at;
    return;
  }
  at.TakeWord();  // the host
  Scan after_level = at;
  const std::string_view level = after_level.TakeWord();  // busybox: "kern.info"
  if (level.starts_with("kern.") && after_level.rest().starts_with("kernel:")) at = after_level;
  if (at.Take("kernel:")) {
    if (!at.empty() && at.Peek() == ' ') at.Take(" ");
    scan = at;
    return;
  }
  if (host_sure && IsProgramTag(at.TakeWord())) {
    line.kernel = false;
    scan = at;
  }
}

// RFC 5424, behind its priority: "1 TIME HOST PROGRAM PID ID - text".
bool TakeRfc5424(Scan& scan, LineClock& clock, ParsedLine& line) {
  Scan at = scan;
  if (!at.Take("1 ")) return false;
  const auto date = TakeDate(at);
  if (date) {
    if (!at.Take("T")) return false;
    const auto time = TakeTimeOfDay(at, true, '.');
    if (!time) return false;
    const int64_t zone = TakeZone(at);
    line.at = clock.Wall(date->year, date->month, date->day, *time - zone);
  } else if (!at.Take("-")) {
    return false;
  }
  if (!at.Take(" ")) return false;
  at.TakeWord();  // host
  line.kernel &= at.TakeWord() == "kernel";
  at.TakeWord();        // process
  at.TakeWord();        // kind of message
  if (!at.Take("-")) {  // structured data: [id name="value" ...]...
    while (at.Take("[")) {
      bool quoted = false;
      std::string_view rest = at.rest();
      size_t i = 0;
      for (; i < rest.size() && (quoted || rest[i] != ']'); ++i) {
        if (rest[i] == '\\')
          ++i;
        else if (rest[i] == '"')
          quoted = !quoted;
      }
      at = Scan(rest.substr(std::min(i + 1, rest.size())));
    }
  }
  at.Take(" ");
  at.Take("\xef\xbb\xbf");
  line.form = LineForm::kSyslog;
  scan = at;
  return true;
}

// "2026-11-23T15:26:26,123456+00:00 ", also with a weekday and a space, as journalctl writes it.
bool TakeIso(Scan& scan, LineClock& clock, ParsedLine& line) {
  Scan at = scan;
  Scan weekday = at;
  const bool full = TakeWeekday(weekday) && weekday.Take(" ");
  if (full) at = weekday;
  const auto date = TakeDate(at);
  if (!date || (!at.Take("T") && !at.Take(" "))) return false;
  const bool comma = at.rest().substr(0, 9).find(',') != std::string_view::npos;
  const auto time = TakeTimeOfDay(at, true, comma ? ',' : '.');
  if (!time) return false;
  const int64_t zone = TakeZone(at);
  if (!at.Take(" ")) return false;
  if (full) at.TakeWord();  // the zone's name
  line.form = LineForm::kIso;
  line.at = clock.Wall(date->year, date->month, date->day, *time - zone);
  TakeHostAndProgram(at, !comma, line);
  scan = at;
  return true;
}

// "Nov 23 15:26:26 host kernel: ".
bool TakeBsd(Scan& scan, LineClock& clock, ParsedLine& line) {
  Scan at = scan;
  const auto month = TakeMonth(at);
  if (!month || !at.Take(" ")) return false;
  at.TakeSpaces();
  const auto day = at.TakeNumber(1, 2);
  if (!day || *day < 1 || *day > 31 || !at.Take(" ")) return false;
  const auto time = TakeTimeOfDay(at, true, '.');
  if (!time || !at.Take(" ")) return false;
  line.form = LineForm::kSyslog;
  line.at = clock.Wall(std::nullopt, *month, static_cast<int>(*day), *time);
  TakeHostAndProgram(at, true, line);
  scan = at;
  return true;
}

// "1700000000.123456 host kernel: ".
bool TakeUnix(Scan& scan, ParsedLine& line) {
  Scan at = scan;
  if (at.rest().find('.') != 10) return false;
  const auto us = at.TakeSeconds('.');
  if (!us || !at.Take(" ")) return false;
  line.form = LineForm::kUnix;
  line.at = {Stamp::Clock::kWall, *us};
  TakeHostAndProgram(at, true, line);
  scan = at;
  return true;
}

// "6,339,5140900,-;": priority, number, microseconds, flags.
bool TakeKmsg(Scan& scan, ParsedLine& line) {
  Scan at = scan;
  const auto priority = at.TakeNumber(1, 4);
  if (!priority || !at.Take(",") || !at.TakeNumber(1, 18) || !at.Take(",")) return false;
  const auto us = at.TakeNumber(1, 18);
  if (!us || !at.Take(",")) return false;
  const size_t semicolon = at.rest().find(';');
  if (semicolon == std::string_view::npos || semicolon > 64) return false;
  scan = Scan(at.rest().substr(semicolon + 1));
  line.form = LineForm::kKmsg;
  line.priority = static_cast<int>(*priority & 7);
  line.kernel = *priority < 8;
  line.at = {Stamp::Clock::kBoot, *us};
  return true;
}

}  // namespace

const char* LineFormWords(LineForm form) {
  switch (form) {
    case LineForm::kPlain:
      return "plain text without times";
    case LineForm::kStamped:
      return "dmesg";
    case LineForm::kCtime:
      return "dmesg -T";
    case LineForm::kRelative:
      return "dmesg -H";
    case LineForm::kDelta:
      return "dmesg with time differences";
    case LineForm::kIso:
      return "ISO 8601 times";
    case LineForm::kSyslog:
      return "syslog";
    case LineForm::kUnix:
      return "journalctl with Unix times";
    case LineForm::kKmsg:
      return "/dev/kmsg";
  }
  return "";
}

Stamp LineClock::Wall(std::optional<int> year, int month, int day, int64_t us_of_day) {
  if (!year) {
    if (month_ != 0 && month + 6 <= month_) ++year_;
    month_ = month;
    year = year_;
  }
  return {Stamp::Clock::kWall, DaysOf(*year, month, day) * kDayUs + us_of_day};
}

Stamp LineClock::RelativeMinute(int month, int day, int64_t us_of_day) {
  const Stamp stamp = Wall(std::nullopt, month, day, us_of_day);
  // The minute is all that is said; the seconds before it may reach into it.
  const bool inside = relative_us_ >= stamp.us && relative_us_ < stamp.us + kMinuteUs;
  if (!inside) relative_us_ = stamp.us;
  return {Stamp::Clock::kWall, relative_us_};
}

Stamp LineClock::RelativeStep(int64_t us) {
  relative_us_ += std::min(us, kDayUs * 3650);
  relative_us_ = std::min(relative_us_, kDayUs * 1'000'000);
  return {Stamp::Clock::kWall, relative_us_};
}

Stamp LineClock::Delta(int64_t us) {
  delta_us_ = std::min(delta_us_ + std::min(us, kDayUs * 3650), kDayUs * 1'000'000);
  return {Stamp::Clock::kBoot, delta_us_};
}

ParsedLine ParseLine(std::string_view text, LineClock& clock) {
  ParsedLine line;
  Scan scan(text);
  if (TakeKmsg(scan, line)) {
    line.text = scan.rest();
    return line;
  }
  const bool priority = TakePriority(scan, line);
  if (!priority) TakeDecoded(scan, line);
  const bool rfc5424 = priority && TakeRfc5424(scan, clock, line);
  const bool stamped =
      rfc5424 || TakeIso(scan, clock, line) || TakeBsd(scan, clock, line) || TakeUnix(scan, line);
  // Of two times the kernel's own counts: it is the finer one, and no message waits in it.
  const LineForm outer = line.form;
  if (TakeBracket(scan, clock, line)) {
    TakeCaller(scan);
    if (stamped) line.form = outer;
    scan.Take(" ");
    if (!stamped && line.form == LineForm::kStamped) {  // journalctl -o short-monotonic
      Scan at = scan;
      at.TakeWord();
      if (at.Take("kernel: ")) scan = at;
    }
  }
  line.text = scan.rest();
  return line;
}

}  // namespace plugpull::incident
