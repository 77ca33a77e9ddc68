// SPDX-License-Identifier: Apache-2.0
// What oracles observed of the things that applications build on (verdict.proto, GuaranteeReport),
// in one state.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "framework/proto/verdict.pb.h"

namespace plugpull::oracle {

// A set of guarantees.
class GuaranteeSet {
 public:
  void Add(GuaranteeReport::Guarantee guarantee) { bits_ |= uint32_t{1} << guarantee; }
  void Add(const GuaranteeSet& other) { bits_ |= other.bits_; }
  void Remove(GuaranteeReport::Guarantee guarantee) { bits_ &= ~(uint32_t{1} << guarantee); }
  bool Has(GuaranteeReport::Guarantee guarantee) const { return (bits_ >> guarantee & 1) != 0; }

 private:
  static_assert(GuaranteeReport::Guarantee_MAX < 32);
  uint32_t bits_ = 0;
};

struct GuaranteeAnswers {
  GuaranteeSet asked;    // at least one question was open and answered
  GuaranteeSet shown;    // the change that one of these is about has left a trace
  GuaranteeSet broken;   // at least one of them was answered by "no"
  GuaranteeSet unknown;  // at least one could not be answered, and none by "no"
  std::map<GuaranteeReport::Guarantee, std::string> evidence;  // the first of each broken one

  // What other answers about the same state say, too.
  void Add(const GuaranteeAnswers& more) {
    asked.Add(more.asked);
    shown.Add(more.shown);
    broken.Add(more.broken);
    unknown.Add(more.unknown);
    evidence.insert(more.evidence.begin(), more.evidence.end());
  }

  // "no" to one question; the first evidence is kept.
  void Break(GuaranteeReport::Guarantee guarantee, const std::string& why) {
    asked.Add(guarantee);
    broken.Add(guarantee);
    evidence.try_emplace(guarantee, why);
  }
};

}  // namespace plugpull::oracle
