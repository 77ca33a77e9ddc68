// SPDX-License-Identifier: Apache-2.0
#include "framework/crashstate/crash_state_id.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "framework/base/check.h"

namespace plugpull::crashstate {
namespace {

constexpr size_t kTextMax = 65536;
constexpr size_t kShownMax = 60;  // of a part of an id, in messages
constexpr char kExample[] = "vol:cache@1042-lose.1031.1040";

constexpr std::string_view kTearWords[] = {"first", "last", "without"};  // by Tear::Kind

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

bool ParseNumber(std::string_view text, uint64_t& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// Safe on a terminal, and short.
std::string Shown(std::string_view text, size_t size_max) {
  std::string shown(text.substr(0, size_max));
  for (char& c : shown) c = c >= ' ' && c <= '~' ? c : '?';
  return shown;
}

Error Bad(std::string_view text, std::string_view part, std::string_view what) {
  return UserError(fmt::format("'{}' is no crash state id: '{}' {}; an id looks like {}",
                               Shown(text, 120), Shown(part, kShownMax), what, kExample));
}

// What is wrong with a list of numbers that has to ascend; empty when nothing is. Appends them.
std::string ParseAscending(std::span<const std::string_view> words, const char* what,
                           std::vector<uint64_t>& numbers) {
  for (const std::string_view word : words) {
    uint64_t number;
    if (!ParseNumber(word, number)) return fmt::format("has '{}' for {}", Shown(word, 30), what);
    if (!numbers.empty() && number == numbers.back()) return fmt::format("names {} twice", number);
    if (!numbers.empty() && number < numbers.back()) {
      return fmt::format("has {} after {}, but has to ascend", number, numbers.back());
    }
    numbers.push_back(number);
  }
  return {};
}

// What is wrong with a tear; empty when nothing is, and it is added.
std::string ParseTear(std::string_view text, Selection& selection) {
  constexpr char kForms[] = "is no tear (torn.E.first.N, torn.E.last.N, torn.E.without.I...)";
  const auto parts = Split(text, '.');
  Tear tear;
  if (parts.size() < 4 || parts[0] != "torn" || !ParseNumber(parts[1], tear.entry)) return kForms;
  const auto kind = std::find(std::begin(kTearWords), std::end(kTearWords), parts[2]);
  if (kind == std::end(kTearWords)) return kForms;
  tear.kind = static_cast<Tear::Kind>(kind - std::begin(kTearWords));
  std::vector<uint64_t> numbers;
  std::string wrong = ParseAscending(std::span(parts).subspan(3), "a number of units", numbers);
  if (!wrong.empty()) return wrong;
  tear.number = numbers[0];
  tear.also.assign(numbers.begin() + 1, numbers.end());
  if (tear.kind != Tear::Kind::kWithout) {
    if (!tear.also.empty()) return kForms;
    if (tear.number == 0) return "lets no unit arrive; a write that is lost whole is named by lose";
  }
  if (!selection.torn.empty() && tear.entry <= selection.torn.back().entry) {
    return fmt::format("comes behind the tear of entry {}; tears ascend, one for each entry",
                       selection.torn.back().entry);
  }
  const auto& lost = selection.entries;
  if (std::binary_search(lost.begin(), lost.end(), tear.entry)) {
    return fmt::format("tears entry {}, which is lost; choose one", tear.entry);
  }
  if (selection.kind != Selection::Kind::kAllArrived && selection.kind != Selection::Kind::kLose) {
    return "tears a write of a state that names its losses by keep or sample; name them by lose";
  }
  selection.torn.push_back(std::move(tear));
  return {};
}

bool ParseModel(std::string_view text, DeviceModel& model) {
  const auto parts = Split(text, '.');
  if (parts[0] != "cache" && parts[0] != "lying") return false;
  model.lying = parts[0] == "lying";
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == "keep") {
      model.discard_keeps = true;
    } else if (parts[i] == "mkfs") {
      model.from_mkfs = true;
    } else if (parts[i].starts_with('u')) {
      uint64_t unit;
      if (!ParseNumber(parts[i].substr(1), unit) || !IsAtomicUnit(unit)) return false;
      model.atomic_unit = static_cast<uint32_t>(unit);
    } else if (parts[i].empty() || parts[i][0] != 'w' ||
               !ParseNumber(parts[i].substr(1), model.window) || model.window == 0) {
      return false;
    }
  }
  return true;
}

// What is wrong with a selection; empty when nothing is.
std::string ParseSelection(std::string_view text, Selection& selection) {
  constexpr char kForms[] = "is no selection (lose.E..., keep.E..., sample.SEED.PERMILLE)";
  const auto parts = Split(text, '.');
  if (parts[0] == "sample") {
    selection.kind = Selection::Kind::kSample;
    uint64_t permille = 0;
    if (parts.size() < 3 || parts.size() > 4 || !ParseNumber(parts[1], selection.seed, 16) ||
        !ParseNumber(parts[2], permille) || permille > 1000 ||
        (parts.size() == 4 && (!ParseNumber(parts[3], selection.last) || selection.last == 0))) {
      return kForms;
    }
    selection.lose_permille = static_cast<uint32_t>(permille);
    return {};
  }
  if (parts[0] != "lose" && parts[0] != "keep") return kForms;
  selection.kind = parts[0] == "lose" ? Selection::Kind::kLose : Selection::Kind::kKeep;
  std::string wrong = ParseAscending(std::span(parts).subspan(1), "a log entry", selection.entries);
  if (!wrong.empty()) return wrong;
  if (selection.kind == Selection::Kind::kLose && selection.entries.empty()) return kForms;
  return {};
}

}  // namespace

bool IsAtomicUnit(uint64_t bytes) {
  return bytes >= 512 && bytes <= 4096 && (bytes & (bytes - 1)) == 0;
}

bool Tear::Arrived(uint64_t unit, uint64_t units) const {
  switch (kind) {
    case Kind::kFirst:
      return unit < number;
    case Kind::kLast:
      return unit + number >= units;
    case Kind::kWithout:
      return unit != number && !std::binary_search(also.begin(), also.end(), unit);
  }
  return true;
}

bool Tear::Fits(uint64_t units) const {
  const uint64_t last = also.empty() ? number : also.back();
  return units >= 2 && last < units && also.size() + 1 < units;
}

Tear Tear::Without(uint64_t entry, const std::vector<uint64_t>& missing, uint64_t units) {
  PP_CHECK(!missing.empty() && missing.size() < units && missing.back() < units);
  const bool in_a_row = missing.back() - missing.front() + 1 == missing.size();
  if (in_a_row && missing.back() + 1 == units) return {entry, Kind::kFirst, missing.front()};
  if (in_a_row && missing.front() == 0) return {entry, Kind::kLast, units - missing.size()};
  return {entry, Kind::kWithout, missing.front(), {missing.begin() + 1, missing.end()}};
}

std::string DeviceModel::ToWords() const {
  std::string words =
      lying ? "lying disk (flushes and forced writes are ignored)" : "volatile cache";
  if (atomic_unit != 0) words += fmt::format(", atomic unit {} bytes", atomic_unit);
  if (window != 0) words += fmt::format(", at most {} writes volatile", window);
  if (discard_keeps) words += ", discards keep the old bytes";
  if (from_mkfs) words += ", cut from mkfs on";
  return words;
}

std::string CrashStateId::ToString() const {
  std::string text = fmt::format("{}:{}", disk, model.lying ? "lying" : "cache");
  if (model.window != 0) text += fmt::format(".w{}", model.window);
  if (model.atomic_unit != 0) text += fmt::format(".u{}", model.atomic_unit);
  if (model.discard_keeps) text += ".keep";
  if (model.from_mkfs) text += ".mkfs";
  text += fmt::format("@{}", cut);
  switch (selection.kind) {
    case Selection::Kind::kAllArrived:
      break;
    case Selection::Kind::kLose:
      text += fmt::format("-lose.{}", fmt::join(selection.entries, "."));
      break;
    case Selection::Kind::kKeep:
      text += selection.entries.empty()
                  ? "-keep"
                  : fmt::format("-keep.{}", fmt::join(selection.entries, "."));
      break;
    case Selection::Kind::kSample:
      text += fmt::format("-sample.{:x}.{}", selection.seed, selection.lose_permille);
      if (selection.last != 0) text += fmt::format(".{}", selection.last);
      break;
  }
  for (const Tear& tear : selection.torn) {
    text += fmt::format("-torn.{}.{}.{}", tear.entry, kTearWords[static_cast<size_t>(tear.kind)],
                        tear.number);
    for (const uint64_t unit : tear.also) text += fmt::format(".{}", unit);
  }
  if (overlapping_older) text += "-older";
  return text;
}

Result<CrashStateId> CrashStateId::Parse(std::string_view text) {
  if (text.size() > kTextMax) {
    return UserError(
        fmt::format("a crash state id of {} bytes; at most {}", text.size(), kTextMax));
  }
  CrashStateId id;
  const size_t at = text.find('@');
  const size_t colon = text.substr(0, at).find(':');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon == 0) {
    return Bad(text, text, "has no DISK:MODEL@CUT");
  }
  id.disk = text.substr(0, colon);
  const std::string_view model = text.substr(colon + 1, at - colon - 1);
  if (!ParseModel(model, id.model)) {
    return Bad(text, model, "is no device model (cache or lying, then .wN, .uN, .keep, .mkfs)");
  }
  const auto parts = Split(text.substr(at + 1), '-');
  if (!ParseNumber(parts[0], id.cut)) {
    const auto cut =
        text.substr(at + 1, parts[0].empty() && parts.size() > 1 ? kShownMax : parts[0].size());
    return Bad(text, cut, "is no cut: that is the number of a log entry, from 0 on");
  }
  for (size_t i = 1; i < parts.size(); ++i) {
    std::string wrong;
    if (parts[i] == "older") {
      if (i + 1 != parts.size()) wrong = "comes last in an id, and once";
      id.overlapping_older = true;
    } else if (parts[i].starts_with("torn")) {
      wrong = id.model.atomic_unit == 0
                  ? "tears a write, but the model names no atomic unit (cache.u512)"
                  : ParseTear(parts[i], id.selection);
    } else if (i != 1) {
      wrong = "comes too late: what is lost is named once, right behind the cut";
    } else {
      wrong = ParseSelection(parts[i], id.selection);
    }
    if (!wrong.empty()) return Bad(text, parts[i], wrong);
  }
  return id;
}

}  // namespace plugpull::crashstate
