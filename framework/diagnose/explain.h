// SPDX-License-Identifier: Apache-2.0
// Why a crash state broke: what was cut, what was lost and for what it was, which rule of ordering
// that broke, and who had to keep it. What cannot be derived is said to be not known.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/diagnose/ordering.h"
#include "framework/diagnose/write_names.h"

namespace plugpull::diagnose {

// What is known of how the disk was used, from the scenario; nothing without one.
struct DiskUse {
  bool nobarrier = false;      // a mount of the disk asked for it
  bool drops_flushes = false;  // a layer above the log hides the disk's volatile cache
};

struct Explanation {
  struct Lost {
    uint64_t entry = 0;
    std::string words;
  };
  struct Rule {
    std::string name;  // BrokenRuleName
    std::string sentence;
    uint64_t lost_entry = 0;
    uint64_t arrived_entry = 0;
    std::optional<uint64_t> promised_entry;  // the flush, or the forced write, that was not kept
  };
  std::string cut_after;    // last event before the cut that means something; empty: none
  std::vector<Lost> lost;   // in the order of the log
  std::vector<Lost> torn;   // writes that arrived in part, and which part; in the order of the log
  std::vector<Rule> rules;  // broken ones
  // Lost and torn writes that alone break none of the rules, by entry.
  std::vector<uint64_t> without_rule;
  // What is no rule, and might be taken for one: file data under data=writeback.
  std::vector<std::string> remarks;
  std::string verdict;  // one or two sentences: who had to keep the order
};

// `input` without its functions, which `names` gives. `shown_max` lost writes are put into words.
Explanation Explain(OrderingInput input, const WriteNames& names, const DiskUse& use, bool violated,
                    size_t shown_max);

}  // namespace plugpull::diagnose
