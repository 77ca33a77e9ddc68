// SPDX-License-Identifier: Apache-2.0
// A timeline told for one agent: what it tried on each disk, in episodes. For this folder only.
//
// An episode is all that an agent tries on a disk for one reason. It ends when a mount lasts, when
// the disk is taken away while mounted, when the agent gives up (it says so in an alert, or does
// nothing for longer than any gap may be), and when a fault of the disk begins or ends: what comes
// then has another reason. Attempts after giving up are an episode of their own, which says what
// they came after. A re-attachment or a restart alone ends nothing, so that a loop through them is
// seen as one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "framework/proto/agent.pb.h"
#include "framework/proto/scenario.pb.h"
#include "framework/proto/verdict.pb.h"

namespace plugpull::agent {

struct Attempt {
  uint64_t at_ns = 0;
  uint64_t end_ns = 0;
  uint32_t pid = 0;
  int error_number = 0;
  std::string target;
};

struct Episode {
  enum class End {
    kOpen,     // the timeline ends, or a fault changed, before it was over
    kMounted,  // for good
    kGaveUp,
  };
  std::vector<Attempt> attempts;  // at least one
  End end = End::kOpen;
  uint64_t next_ns = 0;  // when the next episode began, or the timeline ended
  // What it came after, when the one before was given up.
  bool after_giving_up = false;
  uint64_t gave_up_ns = 0;
  bool restarted = false;    // the agent, since then
  bool re_attached = false;  // the disk, since then
  // The alert by which it gave up; not set: by silence, or not at all.
  std::optional<uint64_t> alert_ns;

  uint64_t Failures() const;
  std::vector<double> GapsSeconds() const;  // from each attempt's end to the next one's beginning
};

struct Fault {
  uint64_t begin_ns = 0;
  std::optional<uint64_t> clear_ns;
  bool reads_fail = false;
};

struct DiskStory {
  std::string disk;
  std::string serial;                // the last one
  std::vector<std::string> devices;  // all names that it had
  std::vector<Episode> episodes;
  std::vector<Fault> faults;
  std::vector<const TimelineEvent*> alerts;  // of this agent about this disk
  // When somebody may have changed what it holds: a step, a mkfs, an fsck that wrote.
  std::vector<uint64_t> changed_ns;

  // "pvc-0001 (disk vol)".
  std::string Name() const;
};

struct Story {
  const Timeline& timeline;
  const Contract& contract;
  std::string agent;
  const TimelineAgent* told = nullptr;  // never null in a story that Tell made
  std::map<std::string, DiskStory> disks;
  uint64_t starts = 0;    // by steps
  uint64_t restarts = 0;  // by the restart policy
};

// Of an agent that the timeline lists.
Story Tell(const Timeline& timeline, const TimelineAgent& agent, const Contract& contract);

double Seconds(uint64_t ns);
// "EINVAL".
std::string ErrnoWord(int error_number);
// "12.3 s" of the timeline's own time.
std::string MomentWords(const Story& story, uint64_t at_ns);

// The cycle of events that an episode repeats, in words: "cycle: not recognised, mounted; 12 of 12
// whole cycles alike, every 30 s". Empty: none. Found by framework/incident, as in a field log.
// Where only successes repeat there is a cycle too: "cycle: mounted, unmounted; 12 times, every 6
// s".
std::string LoopWords(const Story& story, const DiskStory& disk, const Episode& episode);

// Gaps that grow, and then begin small again: "back-off begun anew 4 times, every 1 min, 3 of them
// by a restart". Empty: it never is.
std::string ResetWords(const Story& story, const Episode& episode);

// "gaps 0.5 0.5 0.5 s, not growing"; `cap_s`: gaps that are this long need not grow.
std::string GapsWords(const std::vector<double>& gaps, double cap_s);
// In the middle of values that are in any order, at least one.
double Median(std::vector<double> values);

// Where a property stands after what was looked at so far: the first violation stays.
class Judgement {
 public:
  explicit Judgement(FindingClass property) { report_.set_property(property); }
  void Holds(const std::string& evidence, const std::string& disk = {});
  void Violated(const std::string& evidence, const std::string& disk = {});
  // Nothing to judge, and why.
  void Note(const std::string& evidence);
  bool violated() const { return report_.verdict() == PropertyReport::VIOLATED; }
  const PropertyReport& report() const { return report_; }

 private:
  PropertyReport report_;
};

// Attempts that are no mounts, such as runs of fsck, with no mount between them: BOUNDED_ATTEMPTS.
void JudgeUnmountedWork(const Story& story, Judgement& bound);

// Each file's properties, in any order.
void JudgeAttempts(const Story& story, std::vector<PropertyReport>& reports);
void JudgeAlerts(const Story& story, std::vector<PropertyReport>& reports);
void JudgeData(const Story& story, std::vector<PropertyReport>& reports);
void JudgeMounts(const Story& story, std::vector<PropertyReport>& reports);

}  // namespace plugpull::agent
