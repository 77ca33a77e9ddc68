// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/defects.h"

#include <algorithm>

namespace plugpull::agents {
namespace {

// Attempts go on, with the gaps that they should have.
class LoopsForEver : public Decisions {
  bool GivesUp(const Limits&, FaultClass, uint32_t) const override { return false; }
};

class NoBackOff : public Decisions {
  Millis DelayAfter(const Limits& limits, uint32_t, Prng&) const override {
    return limits.delay_first;
  }
};

class Flaps : public Decisions {
  bool KeepsHealthyMount() const override { return false; }
};

// "blkid finds nothing, so there is nothing": a read error still stops it.
class ReformatsUnrecognised : public Decisions {
  bool IsBlank(const Probe& probe, const std::function<Scan()>& scan) const override {
    return probe.kind == Probe::Kind::kNothing && scan().kind != Scan::Kind::kUnreadable;
  }
};

// "blkid found no format": for whatever reason it did not. What can be read must be zeroes.
class ReadErrorIsBlank : public Decisions {
  bool IsBlank(const Probe& probe, const std::function<Scan()>& scan) const override {
    if (probe.kind != Probe::Kind::kNothing && probe.kind != Probe::Kind::kError) return false;
    const Scan::Kind kind = scan().kind;
    return kind == Scan::Kind::kUnreadable ||
           (probe.kind == Probe::Kind::kNothing && kind == Scan::Kind::kBlank);
  }
};

class RepairsUnaskedDefect : public Decisions {
  bool RepairsUnasked() const override { return true; }
};

// "It is not recognised yet": without a mount there is no failure that would count.
class ChecksForEver : public Decisions {
  bool OnlyChecks(const std::function<Probe()>& probe,
                  const std::function<Scan()>& scan) const override {
    return probe().kind == Probe::Kind::kNothing && scan().kind == Scan::Kind::kNotBlank;
  }
};

class ForgetsOnRestart : public Decisions {
  State Remembered(State) const override { return {}; }
};

class Races : public Decisions {
  bool TakesLocks() const override { return false; }
};

class DetachesBusy : public Decisions {
  bool DetachesBusyMount() const override { return true; }
};

// Once it has seen the disk it knows it by name.
class MountsByName : public Decisions {
  bool IsDiskOf(const Volume& volume, const Record& record, const Disk& disk) const override {
    return record.disk.empty() ? disk.serial == volume.serial : disk.name == record.disk;
  }
};

class CleansThroughMounts : public Decisions {
  bool CleanupEntersMounts() const override { return true; }
};

class GivesUpOnTransient : public Decisions {
  FaultClass Classify(const Fault&) const override { return FaultClass::kPermanent; }
};

class RetriesPermanent : public Decisions {
  FaultClass Classify(const Fault&) const override { return FaultClass::kTransient; }
};

class NeverAlerts : public Decisions {
  bool StaysSilent(const Record&) const override { return true; }
};

class DropsOptions : public Decisions {
  std::vector<std::string> OptionsOf(const Volume&) const override { return {}; }
};

class MountsAgain : public Decisions {
  bool TrustsMountTable() const override { return false; }
};

template <typename T>
std::unique_ptr<Decisions> Make() {
  return std::make_unique<T>();
}

}  // namespace

const std::vector<Defect>& Defects() {
  static const std::vector<Defect> defects = {
      {"loops-for-ever", "never gives up", "GivesUp", Make<LoopsForEver>},
      {"no-back-off", "waits the same short time after every failure", "DelayAfter",
       Make<NoBackOff>},
      {"flaps", "unmounts and mounts a healthy volume in turn", "KeepsHealthyMount", Make<Flaps>},
      {"reformats-unrecognised", "runs mkfs on a disk on which libblkid finds nothing", "IsBlank",
       Make<ReformatsUnrecognised>},
      {"read-error-is-blank", "runs mkfs on a disk that cannot be read", "IsBlank",
       Make<ReadErrorIsBlank>},
      {"repairs-unasked", "runs e2fsck -y on what the kernel refuses", "RepairsUnasked",
       Make<RepairsUnaskedDefect>},
      {"checks-for-ever",
       "checks what libblkid does not recognise with e2fsck -n, and never mounts it", "OnlyChecks",
       Make<ChecksForEver>},
      {"forgets-on-restart", "tries again what an earlier process has given up", "Remembered",
       Make<ForgetsOnRestart>},
      {"races", "takes no lock: two processes mount, or format, the same disk", "TakesLocks",
       Make<Races>},
      {"detaches-busy", "detaches a busy mount and says that it is unmounted", "DetachesBusyMount",
       Make<DetachesBusy>},
      {"mounts-by-name", "mounts whatever disk has the name that its disk once had", "IsDiskOf",
       Make<MountsByName>},
      {"cleans-through-mounts", "removes what is mounted in the folder that it cleans up",
       "CleanupEntersMounts", Make<CleansThroughMounts>},
      {"gives-up-on-transient", "gives up at the first failure, whatever it is", "Classify",
       Make<GivesUpOnTransient>},
      {"retries-permanent", "tries again what cannot succeed", "Classify", Make<RetriesPermanent>},
      {"never-alerts", "gives up without a word", "StaysSilent", Make<NeverAlerts>},
      {"drops-options", "mounts without the options that were asked for", "OptionsOf",
       Make<DropsOptions>},
      {"mounts-again", "mounts, when it is started, what is mounted already", "TrustsMountTable",
       Make<MountsAgain>},
  };
  return defects;
}

const Defect* FindDefect(std::string_view name) {
  const auto found = std::ranges::find(Defects(), name, &Defect::name);
  return found == Defects().end() ? nullptr : &*found;
}

}  // namespace plugpull::agents
