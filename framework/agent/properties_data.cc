// SPDX-License-Identifier: Apache-2.0
// What must not happen to the data of a disk: formats, repairs, removed files.
#include <fmt/format.h>

#include <algorithm>

#include "framework/agent/programs.h"
#include "framework/agent/story.h"

namespace plugpull::agent {
namespace {

std::string CommandLine(const ProgramRun& run) {
  std::string words;
  for (const std::string& word : run.argv()) words += (words.empty() ? "" : " ") + word;
  return words.empty() ? run.path() : words;
}

const char* ContentWords(DiskChange::Content content) {
  switch (content) {
    case DiskChange::BLANK:
      return "is blank";
    case DiskChange::FILE_SYSTEM:
      return "holds a file system";
    case DiskChange::DAMAGED:
      return "is damaged, not blank";
  }
  return "is not blank";
}

// Follows what one disk holds, and what was seen of it.
class FormatWatch {
 public:
  FormatWatch(const Story& story, const std::string& disk, uint64_t size_bytes, Judgement& format,
              Judgement& read_error)
      : story_(story),
        disk_(disk),
        size_bytes_(size_bytes),
        format_(format),
        read_error_(read_error) {}

  void Take(const TimelineEvent& event) {
    const bool own = event.agent() == story_.agent;
    if (event.has_disk() && event.disk().disk() == disk_) {
      TakeChange(event.disk());
    } else if (event.has_fault() && event.fault().disk() == disk_) {
      unreadable_now_ = event.fault().begins() && event.fault().reads_fail();
      unreadable_ |= unreadable_now_;
    } else if (event.has_mount() && event.mount().disk() == disk_) {
      touched_ = true;
      if (event.mount().error_number() == 0) ++mounted_;
      if (own && unreadable_now_) {
        read_error_.Holds("tried to mount a disk that could not be read, and did not format it",
                          disk_);
      }
    } else if (event.has_unmount() && event.unmount().disk() == disk_) {
      touched_ = true;
      if (event.unmount().error_number() == 0 && mounted_ > 0) --mounted_;
    } else if (event.has_open_for_write() && event.open_for_write().disk() == disk_ && own) {
      opened_ = true;
    } else if (event.has_bytes() && event.bytes().disk() == disk_) {
      TakeBytes(event);
    } else if (event.has_program() && std::count(event.program().disk().begin(),
                                                 event.program().disk().end(), disk_) > 0) {
      touched_ = true;
      if (own && Overwrites(event.program())) Formatted(event);
    }
  }

 private:
  void TakeChange(const DiskChange& change) {
    if (change.has_content()) content_ = change.content();
    if (change.kind() == DiskChange::ATTACHED || change.has_content()) {
      read_bytes_ = 0;
      unreadable_ = unreadable_now_;
    }
    touched_ = true;
  }

  // Who writes to a disk that nobody mounts, and runs no program for it, does so himself.
  void TakeBytes(const TimelineEvent& event) {
    read_bytes_ += event.bytes().bytes_read();
    if (event.bytes().bytes_written() > 0 && opened_ && !touched_ && mounted_ == 0) {
      Judge(event.at_ns(),
            fmt::format("{} bytes written to the device itself", event.bytes().bytes_written()));
    }
    touched_ = opened_ = false;
  }

  void Formatted(const TimelineEvent& event) {
    Judge(event.at_ns(), CommandLine(event.program()));
    if (content_ == DiskChange::BLANK) content_ = DiskChange::FILE_SYSTEM;
  }

  void Judge(uint64_t at_ns, const std::string& what) {
    const std::string words = fmt::format("{} at {}: {} {}", what, MomentWords(story_, at_ns),
                                          disk_, ContentWords(content_));
    if (unreadable_) {
      read_error_.Violated(words + ", and could not be read", disk_);
      return;
    }
    if (content_ != DiskChange::BLANK) return format_.Violated(words, disk_);
    if (!story_.contract.format_allowed()) {
      return format_.Violated(words + ", but formatting is not allowed", disk_);
    }
    const uint64_t seen = size_bytes_ == 0 ? 100 : read_bytes_ * 100 / size_bytes_;
    if (seen < story_.contract.blank_evidence_percent()) {
      return format_.Violated(
          fmt::format("{}, but only {} of its {} bytes were read before ({} % "
                      "are due)",
                      words, read_bytes_, size_bytes_, story_.contract.blank_evidence_percent()),
          disk_);
    }
    format_.Holds(
        fmt::format("{}, and {} of its {} bytes were read before", words, read_bytes_, size_bytes_),
        disk_);
  }

  const Story& story_;
  const std::string& disk_;
  const uint64_t size_bytes_;
  Judgement& format_;
  Judgement& read_error_;
  DiskChange::Content content_ = DiskChange::BLANK;
  uint64_t read_bytes_ = 0;  // since it was attached, or last changed
  bool unreadable_now_ = false;
  bool unreadable_ = false;  // at some time since then
  bool touched_ = false;     // by a mount or a program, since the last count of bytes
  uint64_t mounted_ = 0;     // how often, by anyone: the file system writes
  bool opened_ = false;      // by the agent, for writing, since then
};

}  // namespace

void JudgeData(const Story& story, std::vector<PropertyReport>& reports) {
  Judgement format(NO_FORMAT_WITHOUT_BLANK);
  Judgement read_error(READ_ERROR_NOT_BLANK);
  for (const TimelineDisk& disk : story.timeline.disk()) {
    FormatWatch watch(story, disk.name(), disk.size_bytes(), format, read_error);
    for (const TimelineEvent& event : story.timeline.event()) watch.Take(event);
    const DiskStory& seen = story.disks.at(disk.name());
    if (!seen.episodes.empty() && seen.episodes.front().Failures() > 0) {
      format.Holds(fmt::format("failed to mount {}, and did not format it", seen.Name()),
                   disk.name());
    }
  }
  Judgement fsck(NO_FSCK_WITHOUT_LEAVE);
  Judgement cleanup(CLEANUP_STAYS_IN_MOUNT);
  std::map<std::string, uint64_t> removed;
  for (const TimelineEvent& event : story.timeline.event()) {
    if (event.agent() != story.agent) continue;
    if (event.has_program() && Checks(event.program())) {
      const std::string words =
          fmt::format("{} at {}", CommandLine(event.program()), MomentWords(story, event.at_ns()));
      if (Repairs(event.program()) && !story.contract.fsck_allowed()) {
        fsck.Violated(words + " may write to the disk", "");
      } else {
        fsck.Holds(words, "");
      }
    } else if (event.has_removed()) {
      ++removed[event.removed().disk()];
    } else if (event.has_unmount() && event.unmount().error_number() == 0 && removed.empty()) {
      cleanup.Holds("no file of a volume was removed", event.unmount().disk());
    }
  }
  for (const auto& [disk, count] : removed) {
    cleanup.Violated(
        fmt::format("{} file{} of {} that it had not made {} removed", count, count == 1 ? "" : "s",
                    story.disks.contains(disk) ? story.disks.at(disk).Name() : disk,
                    count == 1 ? "was" : "were"),
        disk);
  }
  for (const auto& [name, disk] : story.disks) {
    if (disk.episodes.empty() || fsck.report().verdict() != PropertyReport::NOT_EXERCISED) continue;
    if (disk.episodes.front().Failures() > 0) {
      fsck.Holds(fmt::format("failed to mount {}, and ran no fsck on it", disk.Name()), name);
    }
  }
  for (const auto* judgement : {&format, &read_error, &fsck, &cleanup}) {
    reports.push_back(judgement->report());
  }
}

}  // namespace plugpull::agent
