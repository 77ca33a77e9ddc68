// SPDX-License-Identifier: Apache-2.0
// The agent: keeps every volume of its configuration mounted, and knows when to stop trying. It is
// a loop of passes; each pass looks at the machine as it is, under a lock and with the state that
// the file has, so that it does not matter which process made the one before, or how that ended.
//
// An attempt is written down before it is made: one that takes the machine down counts too.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/base/result.h"
#include "vm/guest/agents/config.h"
#include "vm/guest/agents/decisions.h"
#include "vm/guest/agents/state.h"
#include "vm/guest/agents/system.h"

namespace plugpull::agents {

enum class Outcome {
  kAllMounted,
  kUnsettled,  // something is waited for: a disk, or the next attempt
  kGivenUp,    // the rest is mounted or given up too
  kBusy,       // of Unmount: still mounted
};

// One thread. Errors are of the agent's own surroundings (its state, /proc): nothing was attempted.
class Agent {
 public:
  // All must outlive the agent. `name` is what it calls itself in alerts.
  Agent(std::string name, const Config& config, const Decisions& decisions, System& system,
        uint64_t seed);

  // Once in each process, before the first pass.
  Status Start();
  // Looks at every volume and does what is due.
  Result<Outcome> Pass();
  // Passes until it is told to end; with `until_settled` only until there is nothing to wait for
  // but the limits of time.
  Result<Outcome> Run(bool until_settled);
  // Unmounts a volume and keeps it so until Reset, and removes its workspace. kBusy: it is mounted
  // as before.
  Result<Outcome> Unmount(const Volume& volume);
  // Forgets what went wrong with a volume, and that it was to stay unmounted.
  Status Reset(const Volume& volume);
  // For who is told from outside when to mount and when to unmount (vm/guest/csi). From now on the
  // volume is to be mounted, or to be let alone; what was given up stays so.
  Status Want(const Volume& volume);
  Status Release(const Volume& volume);
  // What is remembered of a volume.
  Result<Record> Look(const Volume& volume);
  // One line for each volume: what is remembered, and what is mounted.
  Result<std::vector<std::string>> Describe();

 private:
  Result<std::unique_ptr<Lock>> LockState();
  Status Load();
  Status Store();
  Outcome Summary() const;
  Millis UntilNextLook();

  Status Tend(const Volume& volume, Record& record);
  // The volume's disk; nullptr: it is not there. `several`: it cannot be told which it is.
  const Disk* Find(const Volume& volume, const Record& record, const std::vector<Disk>& disks,
                   bool& several) const;
  bool IsDue(Record& record);

  Status Attempt(const Volume& volume, Record& record, const Disk& disk);
  Status CheckAgain(const Volume& volume, Record& record, const Disk& disk);
  std::optional<Fault> BringUp(const Volume& volume, Record& record, const Disk& disk);
  std::optional<Fault> FormatIfBlank(const Volume& volume, Record& record, const Disk& disk,
                                     Probe& probe);
  std::optional<Fault> CheckMount(const Volume& volume, const Record& record, const Disk& disk);
  void Mounted(Record& record, const Disk& disk);
  Status Keep(const Volume& volume, Record& record, const Disk& disk);
  Status Lost(const Volume& volume, Record& record, const Disk* disk, bool still_there);

  Status Failed(const Volume& volume, Record& record, const Disk* disk, const Fault& fault);
  void GiveUp(const Volume& volume, Record& record, const std::string& path, const Fault& fault);
  int UnmountPatiently(const Volume& volume);

  std::string name_;
  const Config& config_;
  const Decisions& decisions_;
  System& system_;
  Prng prng_;
  State state_;
  std::string stored_;
  bool first_pass_ = true;
};

}  // namespace plugpull::agents
