// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <vector>

#include "framework/base/check.h"
#include "framework/ext4/consistency.h"
#include "framework/ext4/journal_recovery.h"
#include "framework/image/content_store.h"
#include "framework/image/cow_image.h"
#include "tests/fuzz/hostile_image.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

using Outcome = ext4::RecoveryReport::Outcome;

constexpr size_t kSteps = 3;

bool Usable(Outcome outcome) {
  return outcome == Outcome::kClean || outcome == Outcome::kRecovered;
}

// What the engine keeps from one crash state to the next.
class Follower {
 public:
  Follower(const BaseImage& base, image::ContentStore& store)
      : raw_(base.bytes, store), recovery_(raw_, base.journal), checker_(recovery_.recovered()) {}

  void MoveTo(const HostileImage& image) {
    std::vector<uint64_t> changed = set_;
    changed.insert(changed.end(), image.touched().begin(), image.touched().end());
    const uint64_t block_bytes = raw_.block_bytes();
    for (const uint64_t block : changed) {
      raw_.SetCopy(block, image.bytes().subspan(block * block_bytes, block_bytes));
    }
    set_ = image.touched();
    report_ = recovery_.Update(changed);
    PP_CHECK(Usable(report_.outcome) || !report_.reason.empty());
    image::CowImage& recovered = recovery_.recovered();
    unchecked_.insert(unchecked_.end(), recovered.changes().begin(), recovered.changes().end());
    recovered.ClearChanges();
    verdict_.reset();
    if (!Usable(report_.outcome)) return;
    verdict_ = checker_.Check(unchecked_);
    unchecked_.clear();
  }

  void CheckSame(const Follower& fresh) const {
    PP_CHECK(report_.outcome == fresh.report_.outcome);
    PP_CHECK(report_.reason == fresh.report_.reason);
    PP_CHECK(report_.transactions == fresh.report_.transactions);
    PP_CHECK(recovery_.recovered().sum() == fresh.recovery_.recovered().sum());
    PP_CHECK(recovery_.recovered().apart_sum() == fresh.recovery_.recovered().apart_sum());
    PP_CHECK(recovery_.fingerprint() == fresh.recovery_.fingerprint());
    PP_CHECK(verdict_.has_value() == fresh.verdict_.has_value());
    // Which of several problems is named may depend on the way.
    PP_CHECK(!verdict_ || verdict_->outcome == fresh.verdict_->outcome);
  }

 private:
  image::CowImage raw_;
  ext4::JournalRecovery recovery_;
  ext4::ConsistencyChecker checker_;
  ext4::RecoveryReport report_;
  std::optional<ext4::ConsistencyVerdict> verdict_;
  std::vector<uint64_t> set_;        // blocks of raw_ that may differ from the base
  std::vector<uint64_t> unchecked_;  // changes since the checker looked
};

}  // namespace

void FuzzRecovery(Input input) {
  if (input.size() < 2) return;
  const BaseImage& base = BaseImages()[input[0] % BaseImages().size()];
  const Input patches = input.subspan(2);
  image::ContentStore store(base.journal.block_bytes);
  Follower follower(base, store);
  for (size_t step = 0; step < kSteps; ++step) {
    const size_t first = patches.size() * step / kSteps;
    const size_t last = patches.size() * (step + 1) / kSteps;
    std::vector<uint8_t> part = {input[0], input[1]};
    part.insert(part.end(), patches.begin() + static_cast<ptrdiff_t>(first),
                patches.begin() + static_cast<ptrdiff_t>(last));
    const HostileImage image(part, Target::kEverything);
    follower.MoveTo(image);
    if (step + 1 < kSteps) continue;
    Follower fresh(base, store);
    fresh.MoveTo(image);
    follower.CheckSame(fresh);
  }
}

}  // namespace plugpull::fuzz
