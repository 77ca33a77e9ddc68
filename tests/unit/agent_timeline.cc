// SPDX-License-Identifier: Apache-2.0
#include "agent_timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace plugpull::agent {

Script::Script(uint64_t seed) : prng_(seed) {
  timeline_.set_format_version(1);
  timeline_.set_begin_ns(now_ns_);
}

std::string Script::Device(const std::string& disk) const {
  for (const auto& [name, device] : devices_) {
    if (name == disk) return device;
  }
  return "";
}

TimelineEvent& Script::Add() {
  now_ns_ += 1'000'000 + prng_.Below(5'000'000);
  TimelineEvent& event = *timeline_.add_event();
  event.set_at_ns(now_ns_);
  event.set_pid(pid);
  event.set_agent(agent);
  return event;
}

void Script::AddDisk(const std::string& name, DiskChange::Content content) {
  TimelineDisk& disk = *timeline_.add_disk();
  disk.set_name(name);
  disk.set_size_bytes(64 << 20);
  devices_.emplace_back(name, fmt::format("vd{}", static_cast<char>('a' + devices_.size())));
  Attach(name);
  timeline_.mutable_event(timeline_.event_size() - 1)->mutable_disk()->set_content(content);
}

void Script::Tell(const std::string& disk, const std::string& at,
                  const std::vector<std::string>& options) {
  if (timeline_.agent().empty()) timeline_.add_agent()->set_name("a");
  TimelineVolume& volume = *timeline_.mutable_agent(0)->add_volume();
  volume.set_disk(disk);
  volume.set_at(at);
  volume.mutable_option()->Assign(options.begin(), options.end());
}

void Script::Start(const std::string& name) {
  const bool known = std::any_of(timeline_.agent().begin(), timeline_.agent().end(),
                                 [&](const TimelineAgent& one) { return one.name() == name; });
  if (!known) timeline_.add_agent()->set_name(name);
  agent = name;
  Add().mutable_life()->set_kind(AgentLife::STARTED);
}

void Script::Restart() {
  Add().mutable_life()->set_kind(AgentLife::ENDED);
  Wait(1);
  Add().mutable_life()->set_kind(AgentLife::RESTARTED);
}

void Script::WaitAbout(double seconds, double fraction) {
  const double dice = static_cast<double>(prng_.Below(1001)) / 1000.0;
  Wait(seconds * (1 - fraction + 2 * fraction * dice));
}

void Script::Mount(const std::string& disk, int error_number, const std::string& target) {
  TimelineEvent& event = Add();
  MountAttempt& mount = *event.mutable_mount();
  mount.set_source("/dev/" + Device(disk));
  mount.set_target(target.empty() ? "/mnt/" + disk : target);
  mount.set_type("ext4");
  mount.set_error_number(error_number);
  mount.set_disk(disk);
  now_ns_ += 20'000'000;
  mount.set_end_ns(now_ns_);
}

void Script::Unmount(const std::string& disk, int error_number, uint32_t flags) {
  UnmountAttempt& unmount = *Add().mutable_unmount();
  unmount.set_target("/mnt/" + disk);
  unmount.set_disk(disk);
  unmount.set_flags(flags);
  unmount.set_error_number(error_number);
}

void Script::Run(const std::vector<std::string>& argv, const std::string& disk, double seconds) {
  ProgramRun& run = *Add().mutable_program();
  run.set_path(argv.front());
  run.mutable_argv()->Assign(argv.begin(), argv.end());
  run.add_disk(disk);
  Wait(seconds);
  run.set_end_ns(now_ns_);
}

void Script::Read(const std::string& disk, uint64_t bytes) {
  BytesMoved& moved = *Add().mutable_bytes();
  moved.set_disk(disk);
  moved.set_bytes_read(bytes);
}

void Script::Written(const std::string& disk, uint64_t bytes) {
  BytesMoved& moved = *Add().mutable_bytes();
  moved.set_disk(disk);
  moved.set_bytes_written(bytes);
}

void Script::OpenForWrite(const std::string& disk) {
  Add().mutable_open_for_write()->set_disk(disk);
}

void Script::Alert(const std::string& text) { Add().mutable_alert()->set_text(text); }

void Script::AlertOn(const std::string& disk, const std::string& errno_name) {
  Alert(
      fmt::format("ALERT: giving up on {} (/dev/{}): {}", Serial(disk), Device(disk), errno_name));
}

void Script::Fault(const std::string& disk, bool begins, bool reads_fail) {
  TimelineEvent& event = Add();
  event.clear_agent();
  event.mutable_fault()->set_disk(disk);
  event.mutable_fault()->set_begins(begins);
  event.mutable_fault()->set_reads_fail(begins && reads_fail);
}

void Script::Detach(const std::string& disk) {
  TimelineEvent& event = Add();
  event.clear_agent();
  event.mutable_disk()->set_kind(DiskChange::DETACHED);
  event.mutable_disk()->set_disk(disk);
}

void Script::Attach(const std::string& disk, const std::string& device) {
  for (auto& [name, known] : devices_) {
    if (name == disk && !device.empty()) known = device;
  }
  TimelineEvent& event = Add();
  event.clear_agent();
  event.mutable_disk()->set_kind(DiskChange::ATTACHED);
  event.mutable_disk()->set_disk(disk);
  event.mutable_disk()->set_serial(Serial(disk));
  event.mutable_disk()->add_device("/dev/" + Device(disk));
}

void Script::InForce(const std::string& disk, const std::vector<std::string>& options) {
  MountInForce& mount = *Add().mutable_in_force();
  mount.set_disk(disk);
  mount.set_target("/mnt/" + disk);
  mount.mutable_option()->Assign(options.begin(), options.end());
}

void Script::Removed(const std::string& disk) { Add().mutable_removed()->set_disk(disk); }

Timeline Script::Finish() {
  timeline_.set_end_ns(now_ns_ + 1);
  return timeline_;
}

void GiveUpWell(Script& script, const std::string& disk) {
  const uint64_t attempts = script.prng().Between(1, 5);
  double gap = 0.5;
  for (uint64_t i = 0; i < attempts; ++i) {
    if (i > 0) script.WaitAbout(gap);
    gap *= 2;
    script.Mount(disk, EIO);
  }
  script.AlertOn(disk, "EIO");
}

}  // namespace plugpull::agent
