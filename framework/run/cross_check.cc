// SPDX-License-Identifier: Apache-2.0
#include "framework/run/cross_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "framework/crashstate/log_agreement.h"
#include "framework/report/summary.h"
#include "framework/run/check.h"

namespace plugpull::run {
namespace {

constexpr uint32_t kQueuesMax = 16;     // as many as a guest has processors
constexpr uint64_t kEntriesBefore = 3;  // shown in front of the one to look at
constexpr uint64_t kEntriesShown = 8;

// Notes the classes of one log that the other does not show.
void CompareClasses(const char* name, const DiskReport& one, const char* other_name,
                    const DiskReport& other, CrossCheckReport& report) {
  const auto elsewhere = report::ClassesOfBothLogs(other);
  const uint64_t states = one.states().enumerated();
  for (const auto& [finding_class, count] : report::ClassesOfBothLogs(one)) {
    if (elsewhere.contains(finding_class) || states == 0) continue;
    const double share = static_cast<double>(count) / static_cast<double>(states);
    const bool certain = share * static_cast<double>(other.states().enumerated()) >= kExpectedMin;
    const std::string words =
        fmt::format("{} in {} of {} states of the {}'s log, and in none of {} of the {}'s",
                    FindingClass_Name(static_cast<FindingClass>(finding_class)), count, states,
                    name, other.states().enumerated(), other_name);
    if (certain) {
      report.add_verdict_contradiction(words);
    } else {
      report.add_note(words + ": too rare to be a contradiction");
    }
  }
}

// The guest's oracles look at samples of the states of one log; they would look at others.
Check WithoutGuest(const Check& check) {
  Check without = check;
  without.clear_oracle();
  without.clear_nested();
  for (const int oracle : check.oracle()) {
    if (oracle != KERNEL_MOUNT && oracle != COMMAND) {
      without.add_oracle(static_cast<Oracle>(oracle));
    }
  }
  return without;
}

void AddAgreement(const crashstate::LogAgreement& agreement, const recording::Reader& reader,
                  const std::string& disk, CrossCheckReport& report) {
  report.set_flush_points(agreement.flushes.compared);
  report.set_flush_points_agree(agreement.flushes.agree);
  report.set_mark_points(agreement.marks.compared);
  report.set_mark_points_agree(agreement.marks.agree);
  report.set_writes_found(agreement.found);
  report.set_writes(agreement.guest_writes);
  report.set_host_writes(agreement.host_writes);
  report.set_host_flushes(agreement.host_flushes);
  report.set_contradictions(agreement.contradiction_count);
  for (const auto& one : agreement.contradictions) report.add_contradiction(one.words);
  if (!agreement.first_in_flight.empty()) {
    report.add_note(
        "where requests were in flight the host's log is ahead of the guest's; first at a " +
        agreement.first_in_flight);
  }
  const auto show = [&](const std::optional<uint64_t>& entry, const char* option) {
    if (!entry) return;
    report.add_command(fmt::format("./plugpull log show {} --disk {}{} --first {} --count {}",
                                   ShellWord(reader.folder()), disk, option,
                                   *entry - std::min(*entry, kEntriesBefore), kEntriesShown));
  };
  // The first place of each log: what is lost in one has no entry there.
  std::optional<uint64_t> in_guest;
  std::optional<uint64_t> in_host;
  for (const auto& one : agreement.contradictions) {
    if (!in_guest) in_guest = one.guest_entry;
    if (!in_host) in_host = one.host_entry;
  }
  show(in_guest, "");
  show(in_host, " --host-log");
}

Status Compare(const recording::Reader& reader, const DiskSource& guest, const DiskReport& found,
               const Check& check, const WorkloadTrace* trace, oracle::Fsck& fsck,
               const DiskCheckOptions& options, CrossCheckReport& report) {
  PP_ASSIGN_OR_RETURN(
      const auto host,
      DiskSource::FromRecording(reader, guest.name(), ModelOf(check.model()), LogOf::kHost));
  if (const auto& dropped = host->history().dropped; dropped && dropped->counted) {
    return UserError(fmt::format("{} bytes of the host's log cannot be read: {}",
                                 dropped->bytes.value, dropped->reason));
  }
  crashstate::AgreementOptions agreement_options;
  agreement_options.queues =
      std::clamp(reader.manifest().scenario().guest().cpus(), 1U, kQueuesMax);
  PP_ASSIGN_OR_RETURN(const auto agreement,
                      crashstate::CompareLogs(guest.history(), host->history(), agreement_options));
  PP_ASSIGN_OR_RETURN(const auto as_written,
                      DiskSource::FromRecording(reader, guest.name(), ModelOf(check.model()),
                                                LogOf::kHost, &guest.history()));
  DiskCheckOptions host_options = options;
  host_options.judged = nullptr;  // is of the guest's log
  PP_ASSIGN_OR_RETURN(const DiskReport judged,
                      CheckDisk(*as_written, WithoutGuest(check), trace, fsck, host_options));
  AddAgreement(agreement, reader, guest.name(), report);
  CompareVerdicts(found, judged, report);
  return OkStatus();
}

}  // namespace

bool WantsCrossCheck(const Recording& manifest, const std::string& disk) {
  const auto& disks = manifest.scenario().disk();
  return std::any_of(disks.begin(), disks.end(),
                     [&](const Disk& one) { return one.name() == disk && one.host_log(); });
}

void CompareVerdicts(const DiskReport& guest, const DiskReport& host, CrossCheckReport& report) {
  *report.mutable_host_states() = host.states();
  for (const auto& [finding_class, count] : report::ClassesOfBothLogs(host)) {
    report.add_host_found(static_cast<FindingClass>(finding_class));
  }
  CompareClasses("guest", guest, "host", host, report);
  CompareClasses("host", host, "guest", guest, report);
  if (host.states().unknown() > 0) {
    report.add_note(
        fmt::format("{} states of the host's log could not be judged", host.states().unknown()));
  }
}

CrossCheckReport CrossCheck(const recording::Reader& reader, const DiskSource& guest,
                            const DiskReport& found, const Check& check, const WorkloadTrace* trace,
                            oracle::Fsck& fsck, const DiskCheckOptions& options) {
  CrossCheckReport report;
  const Status done = Compare(reader, guest, found, check, trace, fsck, options, report);
  if (!done.ok()) {
    report.Clear();
    report.set_not_done(done.error().message);
  }
  return report;
}

Status ContradictionOf(const DiskReport& disk) {
  const CrossCheckReport& report = disk.cross_check();
  if (report.contradiction().empty() && report.verdict_contradiction().empty()) return OkStatus();
  const std::string& first =
      report.contradiction().empty() ? report.verdict_contradiction(0) : report.contradiction(0);
  std::string message = fmt::format(
      "the guest's log of disk {} and the host's contradict each other, which is taken for a fault "
      "of plugpull until another is proven: {}",
      disk.disk(), first);
  for (const std::string& command : report.command()) message += "\n" + command;
  return InternalError(message);
}

}  // namespace plugpull::run
