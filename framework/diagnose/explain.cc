// SPDX-License-Identifier: Apache-2.0
#include "framework/diagnose/explain.h"

#include <fmt/format.h>

#include <algorithm>

namespace plugpull::diagnose {
namespace {

using blocklog::Event;

// The last event before the cut that is more than a note.
std::string CutAfter(const OrderingInput& input, const WriteNames& names) {
  for (size_t i = input.state->cut; i-- > input.history->base;) {
    const Event& event = input.history->events[i];
    const bool lost = std::binary_search(input.state->lost.begin(), input.state->lost.end(), i);
    const bool says = event.kind != Event::Kind::kMark || event.mark.kind == "ack" ||
                      event.mark.kind == "done" || event.mark.kind == "start";
    if (says && !lost) return names.EventInWords(i);
  }
  return {};
}

bool AnyFlush(const blocklog::History& history) {
  return std::any_of(history.events.begin() + static_cast<ptrdiff_t>(history.base),
                     history.events.end(),
                     [](const Event& event) { return event.HasFlush() || event.fua; });
}

std::string Blame(const OrderingInput& input, const std::vector<BrokenRule>& rules,
                  const DiskUse& use) {
  const auto promised = std::find_if(rules.begin(), rules.end(),
                                     [](const BrokenRule& rule) { return rule.promised_by; });
  if (promised != rules.end()) {
    const Event& promise = input.history->events[*promised->promised_by];
    const uint64_t lost = input.history->events[promised->lost].entry;
    if (*promised->promised_by == promised->lost) {
      return fmt::format(
          "The disk is at fault, not the file system: entry {} was a forced write (FUA), which the "
          "disk acknowledged and lost all the same.",
          lost);
    }
    return fmt::format(
        "The disk is at fault, not the file system: entry {} flushed what came before it, the disk "
        "acknowledged it, and entry {} is lost all the same.",
        promise.entry, lost);
  }
  std::string text =
      rules.size() == 1 ? "No flush lies between the two" : "No flush lies between any of these";
  text += ", so nothing kept them in order";
  if (use.nobarrier) return text + ": the file system was mounted with nobarrier.";
  if (use.drops_flushes) {
    return text +
           ": the disk said that it has no volatile cache (drop_barriers), so nobody sent "
           "flushes. The disk is at fault, not the file system.";
  }
  if (!AnyFlush(*input.history)) {
    return text +
           ". The whole log has none: barriers were off, or a layer above the log takes "
           "flushes away; which of the two is not known.";
  }
  return text +
         ", although the log has flushes elsewhere: who left this one out, the file system "
         "or a layer above the log, is not known.";
}

}  // namespace

Explanation Explain(OrderingInput input, const WriteNames& names, const DiskUse& use, bool violated,
                    size_t shown_max) {
  input.words_of = [&](const crashstate::BlockWrite& write) { return names.WordsOf(write); };
  input.is_file_data = [&](uint64_t block) { return names.IsFileData(block); };
  const auto entry_of = [&](size_t event) { return input.history->events[event].entry; };
  Explanation explanation;
  explanation.cut_after = CutAfter(input, names);
  const auto& lost = input.state->lost;
  for (size_t i = 0; i < std::min(lost.size(), shown_max); ++i) {
    explanation.lost.push_back({entry_of(lost[i]), names.EventInWords(lost[i])});
  }
  const auto rules = FindBrokenRules(input);
  for (const BrokenRule& rule : rules) {
    Explanation::Rule& words = explanation.rules.emplace_back();
    words.name = BrokenRuleName(rule.kind);
    words.sentence = rule.sentence;
    words.lost_entry = entry_of(rule.lost);
    words.arrived_entry = entry_of(rule.arrived);
    if (rule.promised_by) words.promised_entry = entry_of(*rule.promised_by);
  }
  for (const size_t event : lost) {
    if (std::none_of(rules.begin(), rules.end(), [&](const auto& r) { return r.lost == event; })) {
      explanation.without_rule.push_back(entry_of(event));
    }
  }
  if (!rules.empty()) {
    explanation.verdict = Blame(input, rules, use);
  } else if (lost.empty()) {
    explanation.verdict = violated ? "Nothing was lost: the disk did all that it promised, and the "
                                     "file system is broken all the same."
                                   : "Nothing was lost.";
  } else {
    explanation.verdict = "No rule of ext4's was broken by what was lost.";
    if (violated) explanation.verdict += " Why the state is broken is not known.";
  }
  return explanation;
}

}  // namespace plugpull::diagnose
