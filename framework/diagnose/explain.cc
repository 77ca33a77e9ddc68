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

// Of rules that are about the order of writes.
std::string BlameForOrder(const OrderingInput& input, const std::vector<BrokenRule>& rules,
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

std::string BlameForTears(const OrderingInput& input, const std::vector<BrokenRule>& torn) {
  const uint32_t block = input.timeline->block_bytes;
  std::string text = fmt::format(
      "The disk tears writes at {} bytes, by its model; one that writes blocks of {} bytes whole "
      "leaves no such state.",
      input.atomic_unit, block);
  const auto promised = std::find_if(torn.begin(), torn.end(),
                                     [](const BrokenRule& rule) { return rule.promised_by; });
  if (promised != torn.end()) {
    text += fmt::format(
        " It is at fault, too: it had acknowledged all of entry {}, by entry {}, before the cut.",
        input.history->events[promised->lost].entry,
        input.history->events[*promised->promised_by].entry);
  }
  return text;
}

std::string Blame(const OrderingInput& input, const std::vector<BrokenRule>& rules,
                  const DiskUse& use) {
  std::vector<BrokenRule> torn;
  std::vector<BrokenRule> order;
  for (const BrokenRule& rule : rules) {
    (rule.kind == BrokenRule::Kind::kBlockIsAtomic ? torn : order).push_back(rule);
  }
  std::string text = order.empty() ? std::string() : BlameForOrder(input, order, use);
  if (!torn.empty()) text += (text.empty() ? "" : " ") + BlameForTears(input, torn);
  return text;
}

// File data that was lost though a transaction that arrived makes it reachable, where that breaks
// no rule or nobody knows whether it does.
std::vector<std::string> RemarksOnData(const OrderingInput& input) {
  std::vector<std::string> remarks;
  if (input.data_mode == ext4::DataMode::kOrdered) return remarks;
  for (const ReachableData& data : FindReachableData(input)) {
    std::string text = fmt::format(
        "entry {} is file data that transaction {} (commit block: entry {}) made reachable",
        input.history->events[data.lost].entry,
        input.timeline->transactions[data.transaction].sequence,
        input.history->events[data.commit].entry);
    if (!input.data_mode) {
      text +=
          ": that breaks the order of data=ordered, and none of data=writeback; with which of "
          "them the disk was mounted is not known";
    } else if (*input.data_mode == ext4::DataMode::kWriteback) {
      text +=
          ": under data=writeback no rule orders the two; only a sync that has returned "
          "promises the data";
    } else {
      text += ": under data=journal that is an order of its own, which is not looked at";
    }
    remarks.push_back(std::move(text));
  }
  return remarks;
}

}  // namespace

Explanation Explain(OrderingInput input, const WriteNames& names, const DiskUse& use, bool violated,
                    size_t shown_max) {
  input.words_of = [&](const crashstate::BlockWrite& write) { return names.WordsOf(write); };
  input.is_file_data = [&](uint64_t block) { return names.IsFileData(block); };
  input.units_words = [&](const TornUnits& torn) {
    return names.UnitsInWords(torn.event, torn.missing, input.atomic_unit);
  };
  const auto entry_of = [&](size_t event) { return input.history->events[event].entry; };
  Explanation explanation;
  explanation.cut_after = CutAfter(input, names);
  const auto& lost = input.state->lost;
  for (size_t i = 0; i < std::min(lost.size(), shown_max); ++i) {
    explanation.lost.push_back({entry_of(lost[i]), names.EventInWords(lost[i])});
  }
  const auto& torn = input.state->torn;
  for (size_t i = 0; i < std::min(torn.size(), shown_max); ++i) {
    explanation.torn.push_back({entry_of(torn[i].event), names.EventInWords(torn[i].event) + "; " +
                                                             input.units_words(torn[i])});
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
  std::vector<size_t> events = lost;
  for (const TornUnits& one : torn) events.push_back(one.event);
  std::sort(events.begin(), events.end());
  for (const size_t event : events) {
    if (std::none_of(rules.begin(), rules.end(), [&](const auto& r) { return r.lost == event; })) {
      explanation.without_rule.push_back(entry_of(event));
    }
  }
  explanation.remarks = RemarksOnData(input);
  if (!rules.empty()) {
    explanation.verdict = Blame(input, rules, use);
  } else if (lost.empty() && torn.empty()) {
    explanation.verdict = violated
                              ? "Nothing was lost: the disk did all that it promised, and what "
                                "was found is there all the same."
                              : "Nothing was lost.";
  } else {
    explanation.verdict = "No rule of ext4's was broken by what was lost.";
    if (violated) explanation.verdict += " Why the state is broken is not known.";
  }
  return explanation;
}

}  // namespace plugpull::diagnose
