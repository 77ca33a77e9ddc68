// SPDX-License-Identifier: Apache-2.0
// The oracles that need a guest: they look at a seeded sample of the states that the others have
// judged, and add what they found to the verdicts.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/crashstate/state_cursor.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/kernel_mount.h"
#include "framework/oracle/state_mounter.h"
#include "framework/oracle/state_sample.h"
#include "framework/oracle/work_image.h"
#include "framework/proto/verdict.pb.h"
#include "framework/run/disk_source.h"
#include "framework/run/guest_image.h"
#include "framework/run/judge.h"
#include "framework/run/state_batch.h"
#include "vm/machine.h"

namespace plugpull::run {

struct GuestOracleOptions {
  uint64_t seed = 1;
  // What the guest boots, for the kernel mount oracle and for the user's command; both say why when
  // there is nothing to boot, and then all that is asked is unknown.
  std::function<Result<GuestImage>()> kernel_image;
  std::function<Result<GuestImage>()> command_image;
  vm::MachineFactory start_machine;  // empty: QEMU
  uint32_t memory_mib = 320;
  std::function<void(uint64_t done, uint64_t total)> progress;
};

class GuestOracles {
 public:
  // All references outlive this, and this outlives the verdicts that it adds to.
  GuestOracles(const DiskSource& source, const Check& check, oracle::Fsck& fsck,
               GuestOracleOptions options);

  // Asks those oracles that the check lists. `verdicts`: one for each state.
  void Ask(const std::vector<crashstate::StateSpec>& states, std::vector<StateVerdict>& verdicts);

  // What was asked, and how much of it agrees.
  void AddTo(DiskReport& report) const;

  // A state as the host sees it; what it could not do is in the view. For tests, too.
  oracle::HostView Look(const crashstate::StateSpec& spec);

 private:
  void AskKernel(const std::vector<crashstate::StateSpec>& states,
                 std::vector<StateVerdict>& verdicts);
  void AskCommand(const std::vector<crashstate::StateSpec>& states,
                  std::vector<StateVerdict>& verdicts);
  std::vector<oracle::SampleCandidate> Candidates(const std::vector<crashstate::StateSpec>& states,
                                                  const std::vector<StateVerdict>& verdicts) const;
  // Gives held states whose recovery clears orphans a kind of their own, as far as is looked.
  void FindOrphans(const std::vector<crashstate::StateSpec>& states, size_t wanted,
                   std::vector<oracle::SampleCandidate>& candidates);
  // What the kernel is asked of a state, as the cut left it.
  oracle::StateToMount KernelMounts(const crashstate::StateSpec& spec) const;
  StateBatchOptions BatchOptions(const std::function<Result<GuestImage>()>& image) const;
  Result<const oracle::WorkImage*> Recovered(const crashstate::StateSpec& spec);
  // Recovers a state in work_.
  Result<oracle::HostView> Recover(const crashstate::StateSpec& spec);
  std::vector<std::string> MarksBefore(size_t cut) const;
  void Conclude(const std::string& judge, uint64_t runs, const std::string& note);

  const DiskSource& source_;
  const Check& check_;
  oracle::Fsck& fsck_;
  GuestOracleOptions options_;
  crashstate::StateCursor cursor_;
  std::optional<oracle::WorkImage> work_;
  bool fast_commits_ = false;         // had to be replayed in what is in work_
  std::deque<std::string> evidence_;  // addresses stay
  std::vector<JudgeCount> judges_;
  std::vector<std::string> notes_;
};

}  // namespace plugpull::run
