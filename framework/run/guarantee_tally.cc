// SPDX-License-Identifier: Apache-2.0
#include "framework/run/guarantee_tally.h"

#include <algorithm>
#include <map>

#include "framework/oracle/guarantee_answers.h"

namespace plugpull::run {
namespace {

using oracle::GuaranteeAnswers;
using oracle::Outcome;
using Guarantee = GuaranteeReport::Guarantee;

bool AsksOf(const Check& check, Oracle oracle) {
  return std::find(check.oracle().begin(), check.oracle().end(), oracle) != check.oracle().end();
}

struct Count {
  uint64_t asked = 0;
  uint64_t broken = 0;
  uint64_t shown = 0;
  uint64_t unknown = 0;
  size_t example = 0;
  size_t example_lost = 0;
  std::string evidence;
};

// What a verdict itself says, in the same words.
void AddOutcome(Guarantee guarantee, Outcome outcome, const std::string* evidence,
                GuaranteeAnswers& answers) {
  if (outcome == Outcome::kUnknown) return answers.unknown.Add(guarantee);
  answers.asked.Add(guarantee);
  answers.shown.Add(guarantee);
  if (outcome == Outcome::kViolated) {
    answers.Break(guarantee, evidence == nullptr ? std::string() : *evidence);
  }
}

GuaranteeAnswers AnswersOf(const Check& check, const StateVerdict& verdict) {
  GuaranteeAnswers answers;
  const bool recovered = verdict.recovery == Outcome::kHolds;
  const Outcome metadata = recovered ? verdict.structure : verdict.recovery;
  if (AsksOf(check, FSCK)) {
    AddOutcome(GuaranteeReport::METADATA_CONSISTENT, metadata, verdict.evidence, answers);
  }
  if (verdict.recovery == Outcome::kViolated) return answers;
  if (AsksOf(check, STALE_DATA) && metadata != Outcome::kViolated) {
    const Outcome stale = metadata == Outcome::kHolds ? verdict.stale_data : Outcome::kUnknown;
    AddOutcome(GuaranteeReport::NO_STALE_DATA, stale, verdict.stale_evidence, answers);
  }
  if (verdict.content_answers != nullptr) answers.Add(*verdict.content_answers);
  if (verdict.guarantee_answers != nullptr) answers.Add(*verdict.guarantee_answers);
  return answers;
}

class Tally {
 public:
  explicit Tally(const crashstate::CrashSpace& space) : space_(space) {}

  void Add(size_t index, const crashstate::StateSpec& spec, const GuaranteeAnswers& answers,
           bool order_decides) {
    for (int number = 1; number <= GuaranteeReport::Guarantee_MAX; ++number) {
      const auto guarantee = static_cast<Guarantee>(number);
      const bool asked = answers.asked.Has(guarantee);
      const bool unknown = answers.unknown.Has(guarantee);
      if (!asked && !unknown) continue;
      Count& count = counts_[guarantee];
      const bool broken = answers.broken.Has(guarantee);
      if (order_decides || (unknown && !broken)) {
        ++count.unknown;
        continue;
      }
      ++count.asked;
      if (answers.shown.Has(guarantee)) ++count.shown;
      if (broken) Break(count, index, spec, answers.evidence.at(guarantee));
    }
  }

  const std::map<Guarantee, Count>& counts() const { return counts_; }

 private:
  void Break(Count& count, size_t index, const crashstate::StateSpec& spec,
             const std::string& evidence) {
    space_.LostEventsInto(spec.cut, spec.selection, scratch_, lost_);
    if (count.broken++ > 0 && lost_.size() >= count.example_lost) return;
    count.example = index;
    count.example_lost = lost_.size();
    count.evidence = evidence;
  }

  const crashstate::CrashSpace& space_;
  std::map<Guarantee, Count> counts_;
  std::vector<size_t> scratch_;
  std::vector<size_t> lost_;
};

}  // namespace

void AddGuarantees(const DiskSource& source, const Check& check,
                   const std::vector<crashstate::StateSpec>& states,
                   const std::vector<StateVerdict>& verdicts,
                   const std::function<std::string(const std::string& id)>& command_for,
                   DiskReport& report) {
  Tally tally(source.space());
  for (size_t i = 0; i < states.size(); ++i) {
    if (!states[i].selection.torn.empty()) continue;
    tally.Add(i, states[i], AnswersOf(check, verdicts[i]), verdicts[i].order_decides);
  }
  for (const auto& [guarantee, count] : tally.counts()) {
    GuaranteeReport& out = *report.add_guarantee();
    out.set_guarantee(guarantee);
    out.set_asked(count.asked);
    out.set_broken(count.broken);
    out.set_shown(count.shown);
    out.set_unknown(count.unknown);
    if (count.broken == 0) continue;
    const std::string id = crashstate::IdOf(source.space(), states[count.example]).ToString();
    out.set_example(id);
    out.set_evidence(count.evidence);
    out.set_lost_writes(static_cast<uint32_t>(count.example_lost));
    if (command_for) out.set_command(command_for(id));
  }
}

}  // namespace plugpull::run
