// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/observer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>

#include "framework/os/file.h"
#include "framework/timeline/trace_line.h"

namespace plugpull::guest {
namespace {

constexpr char kTracing[] = "/sys/kernel/tracing";
constexpr char kInstance[] = "/sys/kernel/tracing/instances/plugpull";
constexpr char kRequests[] = "/sys/kernel/tracing/instances/plugpull-requests";
constexpr char kRequestsKib[] = "64";    // full is as good as not empty
constexpr char kBufferKib[] = "8192";    // of each processor
constexpr size_t kMarkerBytesMax = 900;  // a trace_marker write holds 1 KiB
constexpr size_t kLineBytesMax = 1 << 16;
constexpr int kReadsMax = 4096;         // at one go
constexpr uint64_t kSectorBytes = 512;  // of /sys/block, whatever the device's are
constexpr Bytes kSmallFileMax(1 << 20);
constexpr size_t kStatBytesMax = 512;
constexpr size_t kProcessesMax = 4096;

Status WriteTo(const std::string& path, const std::string& text, int flags = 0) {
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags));
  if (fd.valid() &&
      ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return OkStatus();
  }
  return EnvironmentError(
      fmt::format("cannot write \"{}\" to {}: {}", text, path, os::ErrnoText(errno)));
}

Status MountTracefs() {
  if (::mount("tracefs", kTracing, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "") != 0 &&
      errno != EBUSY) {
    return EnvironmentError(
        fmt::format("cannot mount tracefs on {}: {}", kTracing, os::ErrnoText(errno)));
  }
  return OkStatus();
}

// A trace of its own (Documentation/trace/ftrace.rst, "Instances"), and its pipe.
Result<os::Fd> MakeInstance(const std::string& path, const char* kib) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return EnvironmentError(fmt::format("cannot make {}: {}", path, os::ErrnoText(errno)));
  }
  PP_RETURN_IF_ERROR(WriteTo(path + "/buffer_size_kb", kib));
  // Whoever polls the pipe is woken by the first event, and not by a buffer that is half full.
  PP_RETURN_IF_ERROR(WriteTo(path + "/buffer_percent", "0"));
  os::Fd pipe(::open((path + "/trace_pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!pipe.valid()) {
    return EnvironmentError(
        fmt::format("cannot open {}/trace_pipe: {}", path, os::ErrnoText(errno)));
  }
  return pipe;
}

Status SetProbes() {
  const std::string instance = kInstance;
  for (const auto& probe : timeline::Probes()) {
    const Status defined =
        WriteTo(std::string(kTracing) + "/kprobe_events", probe.definition, O_APPEND);
    if (!defined.ok()) {
      if (probe.needed) return defined;
      continue;
    }
    const std::string folder = instance + "/events/plugpull/" + probe.name;
    if (!probe.filter.empty()) PP_RETURN_IF_ERROR(WriteTo(folder + "/filter", probe.filter));
    PP_RETURN_IF_ERROR(WriteTo(folder + "/enable", "1"));
  }
  for (const std::string& event : timeline::TraceEvents()) {
    const std::string path = instance + "/events/" + event + "/enable";
    if (os::Exists(path)) PP_RETURN_IF_ERROR(WriteTo(path, "1"));
  }
  return OkStatus();
}

// The number behind `key`, which begins a line.
uint64_t NumberAt(const std::string& text, const std::string& key) {
  const size_t at = text.find(key);
  return at == std::string::npos
             ? 0
             : static_cast<uint64_t>(timeline::NumberOf(
                   std::string_view(text).substr(text.find_first_not_of(' ', at + key.size()))));
}

// Options of the mount at `target` in a mountinfo (proc(5)): those of the mount, behind the target,
// and those of the file system, at the end of the line. None when what is on top there is not what
// `is_disk` says of its device number.
std::vector<std::string> OptionsAt(const std::string& mountinfo, const std::string& target,
                                   const std::function<bool(const std::string&)>& is_disk) {
  std::vector<std::string> options;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> fields;
    for (std::string word; words >> word;) fields.push_back(word);
    if (fields.size() < 10 || fields[4] != target) continue;
    options.clear();  // the last one is on top
    if (!is_disk(fields[2])) continue;
    for (const std::string& list : {fields[5], fields.back()}) {
      std::istringstream parts(list);
      for (std::string part; std::getline(parts, part, ',');) options.push_back(part);
    }
  }
  return options;
}

// Processes, oldest first.
std::vector<uint32_t> Processes() {
  std::vector<uint32_t> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    uint32_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size()) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  if (pids.size() > kProcessesMax) pids.resize(kProcessesMax);
  return pids;
}

}  // namespace

uint64_t MonotonicNs() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Result<Observer> Observer::Start() {
  PP_RETURN_IF_ERROR(MountTracefs());
  const std::string instance = kInstance;
  PP_ASSIGN_OR_RETURN(os::Fd pipe, MakeInstance(instance, kBufferKib));
  PP_RETURN_IF_ERROR(WriteTo(instance + "/trace_clock", "mono"));
  PP_RETURN_IF_ERROR(WriteTo(instance + "/options/record-tgid", "1"));
  os::Fd marker(::open((instance + "/trace_marker").c_str(), O_WRONLY | O_CLOEXEC));
  if (!marker.valid()) {
    return EnvironmentError("cannot open the trace: " + os::ErrnoText(errno));
  }
  Observer observer(std::move(pipe), std::move(marker));
  observer.begin_ns_ = MonotonicNs();
  PP_RETURN_IF_ERROR(SetProbes());
  return observer;
}

Status Observer::WatchRequests() {
  PP_ASSIGN_OR_RETURN(requests_, MakeInstance(kRequests, kRequestsKib));
  return WriteTo(std::string(kRequests) + "/events/block/block_rq_issue/enable", "1");
}

Status Observer::Note(const TimelineEvent& event) {
  const std::string text = timeline::NoteText(event);
  if (text.size() > kMarkerBytesMax) {
    return InternalError(fmt::format("a note for the timeline has {} bytes", text.size()));
  }
  if (::write(marker_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return EnvironmentError("cannot write to the trace: " + os::ErrnoText(errno));
  }
  return OkStatus();
}

std::optional<Observer::Traffic> Observer::Look(Counted& counted) {
  char text[kStatBytesMax];
  ssize_t size = -1;
  // Once with what is open, once more with what has the name now.
  for (int i = 0; i < 2 && size <= 0; ++i) {
    if (!counted.stat.valid()) {
      const std::string path = "/sys/class/block/" + counted.device + "/stat";
      counted.stat = os::Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!counted.stat.valid()) return std::nullopt;
    }
    size = ::pread(counted.stat.get(), text, sizeof text, 0);
    if (size <= 0) counted.stat.Reset();
  }
  if (size <= 0) return std::nullopt;
  // Documentation/block/stat.rst: read requests, merges, sectors, ticks; the same of writes; in
  // flight.
  uint64_t fields[9] = {};
  size_t count = 0;
  const char* at = text;
  const char* const end = text + size;
  while (count < std::size(fields)) {
    while (at < end && *at == ' ') ++at;
    const auto [behind, error] = std::from_chars(at, end, fields[count]);
    if (error != std::errc()) return std::nullopt;
    at = behind;
    ++count;
  }
  return Traffic{fields[2], fields[6], fields[8]};
}

void Observer::Count(const std::string& disk, const std::string& device) {
  Counted& counted = counted_[disk];
  counted = Counted();
  counted.device = device;
  // What was moved before is none of the timeline's.
  const auto traffic = Look(counted);
  if (!traffic) return;
  counted.read_sectors = traffic->read_sectors;
  counted.written_sectors = traffic->written_sectors;
}

bool Observer::DisksAreBusy() {
  return std::any_of(counted_.begin(), counted_.end(), [](auto& disk) {
    const auto traffic = Look(disk.second);
    return traffic && traffic->in_flight > 0;
  });
}

Result<bool> Observer::NoteBytes() {
  bool moved = false;
  for (auto& [disk, counted] : counted_) {
    const auto traffic = Look(counted);
    if (!traffic) continue;  // unplugged a moment ago
    if (traffic->read_sectors == counted.read_sectors &&
        traffic->written_sectors == counted.written_sectors) {
      continue;
    }
    TimelineEvent event;
    BytesMoved& bytes = *event.mutable_bytes();
    bytes.set_disk(disk);
    bytes.set_bytes_read((traffic->read_sectors - counted.read_sectors) * kSectorBytes);
    bytes.set_bytes_written((traffic->written_sectors - counted.written_sectors) * kSectorBytes);
    counted.read_sectors = traffic->read_sectors;
    counted.written_sectors = traffic->written_sectors;
    PP_RETURN_IF_ERROR(Note(event));
    moved = true;
  }
  return moved;
}

// A mount is in the namespace of who made it. mount(8) has ended by now as a rule, and the
// namespace may be neither ours nor be named anywhere; but whoever started it is in it, and lives.
// So one process of each namespace is asked, the oldest first: a younger one may be a service that
// was given a changed view of the same mounts.
std::vector<std::string> Observer::OptionsInForce(
    const timeline::TimelineBuilder::NewMount& mount) const {
  const auto options_in = [&](uint32_t pid) -> std::vector<std::string> {
    const auto mountinfo = os::ReadFile(fmt::format("/proc/{}/mountinfo", pid), kSmallFileMax);
    if (!mountinfo.ok()) return {};
    return OptionsAt(*mountinfo, mount.target, [&](const std::string& device) {
      return builder_.DiskOf(device) == mount.disk;
    });
  };
  auto options = options_in(mount.pid);
  std::set<std::string> asked;
  for (const uint32_t pid : options.empty() ? Processes() : std::vector<uint32_t>()) {
    std::error_code error;
    const auto space = std::filesystem::read_symlink(fmt::format("/proc/{}/ns/mnt", pid), error);
    if (error || !asked.insert(space.string()).second) continue;
    options = options_in(pid);
    if (!options.empty()) break;
  }
  return options;
}

Status Observer::NoteMounts() {
  for (const auto& mount : builder_.TakeNewMounts()) {
    const auto options = OptionsInForce(mount);
    if (options.empty()) continue;  // unmounted already, or its namespace has ended
    TimelineEvent event;
    MountInForce& in_force = *event.mutable_in_force();
    in_force.set_disk(mount.disk);
    in_force.set_target(mount.target);
    in_force.mutable_option()->Assign(options.begin(), options.end());
    PP_RETURN_IF_ERROR(Note(event));
  }
  return OkStatus();
}

Result<bool> Observer::ReadPipe() {
  bool came = false;
  char buffer[16384];
  for (int i = 0; i < kReadsMax; ++i) {
    const ssize_t n = ::read(pipe_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) {
      return EnvironmentError("cannot read the trace: " + os::ErrnoText(errno));
    }
    if (n <= 0) break;
    came = true;
    partial_.append(buffer, static_cast<size_t>(n));
    size_t begin = 0;
    for (size_t end; (end = partial_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      builder_.TakeLine(std::string_view(partial_).substr(begin, end - begin));
    }
    partial_.erase(0, begin);
    if (partial_.size() > kLineBytesMax) partial_.clear();
  }
  return came;
}

Result<bool> Observer::Drain() {
  char skipped[16384];
  for (int i = 0; i < kReadsMax && requests_.valid(); ++i) {
    if (::read(requests_.get(), skipped, sizeof skipped) <= 0) break;
  }
  PP_ASSIGN_OR_RETURN(const bool came, ReadPipe());
  PP_RETURN_IF_ERROR(NoteMounts());
  PP_ASSIGN_OR_RETURN(const bool moved, NoteBytes());
  return came || moved;
}

void Observer::AddLost() {
  for (int cpu = 0; cpu < 1024; ++cpu) {
    const auto stats =
        os::ReadFile(fmt::format("{}/per_cpu/cpu{}/stats", kInstance, cpu), kSmallFileMax);
    if (!stats.ok()) break;
    builder_.AddLost(NumberAt(*stats, "\noverrun:") + NumberAt(*stats, "\ndropped events:") +
                         NumberAt(*stats, "\ncommit overrun:"),
                     "the trace buffer overflowed");
  }
  const auto profile = os::ReadFile(std::string(kTracing) + "/kprobe_profile", kSmallFileMax);
  if (!profile.ok()) return;
  std::istringstream lines(*profile);
  std::string name;
  uint64_t hits = 0;
  uint64_t misses = 0;
  while (lines >> name >> hits >> misses) builder_.AddLost(misses, "probe " + name + " missed");
}

Result<Timeline> Observer::Finish() {
  const uint64_t end_ns = MonotonicNs();
  PP_ASSIGN_OR_RETURN([[maybe_unused]] const bool before, Drain());
  PP_RETURN_IF_ERROR(WriteTo(std::string(kInstance) + "/tracing_on", "0"));
  PP_ASSIGN_OR_RETURN([[maybe_unused]] const bool behind, ReadPipe());
  AddLost();
  return builder_.Finish(begin_ns_, std::max(end_ns, MonotonicNs()));
}

}  // namespace plugpull::guest
