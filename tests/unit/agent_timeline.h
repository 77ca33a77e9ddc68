// SPDX-License-Identifier: Apache-2.0
// Timelines made by hand, and agents that are well or ill behaved in a known way.
#pragma once

#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/proto/agent.pb.h"

namespace plugpull::agent {

inline constexpr uint64_t kSecondNs = 1'000'000'000;

// One agent "a" (and others by name), disks that are attached at the beginning.
class Script {
 public:
  explicit Script(uint64_t seed);

  // "vol" has serial "pvc-vol" and is /dev/vda, the next /dev/vdb...
  void AddDisk(const std::string& name, DiskChange::Content content = DiskChange::FILE_SYSTEM);
  void Tell(const std::string& disk, const std::string& at,
            const std::vector<std::string>& options = {});
  void Start(const std::string& agent = "a");
  void Restart();
  void Wait(double seconds) { now_ns_ += static_cast<uint64_t>(seconds * 1e9); }
  // `fraction` of the time more or less.
  void WaitAbout(double seconds, double fraction = 0.2);
  void Mount(const std::string& disk, int error_number, const std::string& target = "");
  void Unmount(const std::string& disk, int error_number = 0, uint32_t flags = 0);
  void Run(const std::vector<std::string>& argv, const std::string& disk, double seconds = 0.1);
  void Read(const std::string& disk, uint64_t bytes);
  void Written(const std::string& disk, uint64_t bytes);
  void OpenForWrite(const std::string& disk);
  void Alert(const std::string& text);
  // What a good alert says.
  void AlertOn(const std::string& disk, const std::string& errno_name);
  void Fault(const std::string& disk, bool begins, bool reads_fail = true);
  void Detach(const std::string& disk);
  // As /dev/`device`, or under its old name.
  void Attach(const std::string& disk, const std::string& device = "");
  void InForce(const std::string& disk, const std::vector<std::string>& options);
  void Removed(const std::string& disk);
  TimelineEvent& Add();

  std::string agent = "a";  // that acts from now on
  uint32_t pid = 100;
  Prng& prng() { return prng_; }
  // Ends it now.
  Timeline Finish();

 private:
  std::string Serial(const std::string& disk) const { return "pvc-" + disk; }
  std::string Device(const std::string& disk) const;

  Prng prng_;
  Timeline timeline_;
  uint64_t now_ns_ = 5 * kSecondNs;
  std::vector<std::pair<std::string, std::string>> devices_;  // disk, "vda"
};

// An agent that keeps everything: a few attempts on `disk` with growing gaps, one alert, silence.
void GiveUpWell(Script& script, const std::string& disk);

}  // namespace plugpull::agent
