// SPDX-License-Identifier: Apache-2.0
// All that the agent decides, in one place and without a system call. The functions here are the
// reference; each broken agent (defects.h) overrides exactly one of them.
#pragma once

#include <functional>
#include <string>

#include "framework/base/prng.h"
#include "framework/base/units.h"
#include "vm/guest/agents/config.h"
#include "vm/guest/agents/state.h"
#include "vm/guest/agents/system.h"

namespace plugpull::agents {

// Why a volume is not mounted as it should be.
struct Fault {
  enum class Stage {
    kFind,    // several disks have the serial
    kProbe,   // what is on the disk cannot be read, or is something else
    kFormat,  // mkfs failed
    kTarget,  // the mount point, or who else uses it
    kMount,   // the kernel refuses
    kCheck,   // mounted, but not as asked for
    kWrite,   // mounted, but a write fails
    kLost,    // was mounted, and is no more
  };
  Stage stage = Stage::kMount;
  int error_number = 0;
  std::string words;
};

enum class FaultClass {
  kTransient,  // may pass by itself: worth another try
  kPermanent,  // will be the same the next time: a try costs, and may do harm
};

// From what was measured in framework/ext4/DAMAGE.md: EINVAL, EBADMSG and EUCLEAN are what a
// damaged or foreign disk says; EIO, EBUSY and a disk that went away may pass. What is unknown may
// pass too: tries are bounded.
FaultClass ClassOf(const Fault& fault);

// min(delay_max, delay_first * 2^(failures - 1)), less a random share of up to jitter_permille, so
// that many agents do not knock together. Grows with each failure until the limit.
Millis BackOff(const Limits& limits, uint32_t failures, Prng& prng);

// What is on the disk, when it is something that must not be mounted as `type`: another format,
// several of them, or a partition table instead of a file system. Words, or empty.
std::string ForeignContent(const Probe& probe, const std::string& type);

class Decisions {
 public:
  virtual ~Decisions() = default;

  // The disk is the volume's. By serial: a name is given anew whenever a disk is plugged in.
  virtual bool IsDiskOf(const Volume& volume, const Record& record, const Disk& disk) const;

  virtual FaultClass Classify(const Fault& fault) const;
  virtual Millis DelayAfter(const Limits& limits, uint32_t failures, Prng& prng) const;
  // After so many failures, the last of which is of this class, a volume is let alone for good.
  virtual bool GivesUp(const Limits& limits, FaultClass fault_class, uint32_t failures) const;
  // An alert was sent already, or there is to be none.
  virtual bool StaysSilent(const Record& record) const;

  // There is nothing on the disk that could be lost. Only a look at all of it says so, and only
  // when libblkid has found nothing; a disk that cannot be read may hold anything.
  virtual bool IsBlank(const Probe& probe, const std::function<Scan()>& scan) const;
  // A disk that the kernel refuses is given to e2fsck -y. Never: it may throw away what a person
  // could still save.
  virtual bool RepairsUnasked() const;

  // A disk that holds something that libblkid does not know is checked with e2fsck -n, again and
  // again, and is never mounted. Never: the kernel says in one attempt what no check will.
  virtual bool OnlyChecks(const std::function<Probe()>& probe,
                          const std::function<Scan()>& scan) const;

  // What a new process takes over from the one before.
  virtual State Remembered(State state) const;
  // One process at a time works on the state, and on a disk.
  virtual bool TakesLocks() const;

  // A mount that is as it should be is left alone.
  virtual bool KeepsHealthyMount() const;
  // A new process believes the mount table, and does not mount what is mounted.
  virtual bool TrustsMountTable() const;
  // With what it is mounted, and what must be in force then.
  virtual std::vector<std::string> OptionsOf(const Volume& volume) const;
  // A mount that stays busy is detached. Never: its writer goes on, and nobody knows when it ends.
  virtual bool DetachesBusyMount() const;
  // Cleaning up goes into what is mounted below.
  virtual bool CleanupEntersMounts() const;
};

}  // namespace plugpull::agents
