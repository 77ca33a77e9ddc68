// SPDX-License-Identifier: Apache-2.0
#include "framework/run/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/crashstate/crash_space.h"
#include "framework/image/fingerprint.h"
#include "framework/image/poison.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "framework/run/guest_session.h"
#include "framework/run/log_file.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {
namespace {

namespace fs = std::filesystem;

// Where an image and the disk's last content differ; nothing when they do not.
std::optional<uint64_t> FirstDifference(std::span<const uint8_t> replayed,
                                        std::span<const uint8_t> disk) {
  constexpr size_t kChunk = 1 << 16;
  for (size_t at = 0; at < replayed.size(); at += kChunk) {
    const size_t n = std::min(kChunk, replayed.size() - at);
    if (std::memcmp(replayed.data() + at, disk.data() + at, n) == 0) continue;
    for (size_t i = at;; ++i) {
      if (replayed[i] != disk[i]) return i;
    }
  }
  return std::nullopt;
}

// Replaying the whole log onto what the disk was filled with must give what the disk holds: the
// recorder's own proof that no write is missing. Returns what is wrong, or nothing.
// `content`: of a disk whose file is not its image.
Result<std::string> ReplayProblem(const blocklog::BlockLog& log, int data_fd, Bytes size,
                                  const std::optional<image::Fingerprint>& content,
                                  RecordedDisk& recorded) {
  PP_ASSIGN_OR_RETURN(blocklog::History history, blocklog::MakeHistory(log, {size, kStripBytes}));
  if (!history.ended) return std::string("its log lacks the mark of its end");
  PP_ASSIGN_OR_RETURN(const os::Fd fd, os::MakeMemFile("plugpull-replay", size));
  PP_ASSIGN_OR_RETURN(os::Mapping replayed,
                      os::Mapping::Map(fd.get(), size, os::Mapping::Mode::kReadWriteShared));
  history.base = history.events.size();
  if (recorded.has_poison_seed()) {
    image::FillPoison(recorded.poison_seed(), 0, replayed.mutable_bytes());
  }
  crashstate::FoldBase(history, replayed.mutable_bytes(), false);
  if (content) {
    recorded.set_final_image_xxh3(content->ToHex());
    return image::FingerprintOf(replayed.bytes()) == *content
               ? std::string()
               : std::string(
                     "replaying its log does not give what the guest read of it at its end");
  }
  PP_ASSIGN_OR_RETURN(const os::Mapping disk,
                      os::Mapping::Map(data_fd, size, os::Mapping::Mode::kReadOnly));
  recorded.set_final_image_xxh3(image::FingerprintOf(disk.bytes()).ToHex());
  if (const auto at = FirstDifference(replayed.bytes(), disk.bytes())) {
    return fmt::format("replaying its log does not give its last content: byte {} differs", *at);
  }
  return std::string();
}

// Keeps what the machine recorded of a disk. Whatever is wrong with it is said in the manifest, and
// the guest's own log is kept all the same.
Status AddHostLog(const DiskFiles& files, Bytes device_size, recording::Writer& writer,
                  RecordedDisk& recorded) {
  const auto read = ReadLogBack(files.host_log.get(), device_size);
  std::string missing;
  if (!read.ok()) {
    missing = read.error().ToString();
  } else if (read->log.dropped) {
    missing = "it cannot be read to its end: " + read->log.dropped->reason;
  } else if (read->log.end.value > recording::kLogBytesMax) {
    missing = fmt::format("it has {} bytes; at most {} are kept", read->log.end.value,
                          recording::kLogBytesMax);
  }
  if (!missing.empty()) {
    recorded.set_host_log_missing(missing);
    return OkStatus();
  }
  recorded.set_host_log_file(recorded.name() + ".host.log.zst");
  recorded.set_host_log_bytes(read->log.end.value);
  return writer.AddCompressed(recorded.host_log_file(),
                              read->mapping.bytes().first(read->log.end.value));
}

Status AddDisks(const scenario::Plan& plan, const GuestSession& session, recording::Writer& writer,
                Recording& manifest) {
  for (const Disk& disk : plan.scenario().disk()) {
    if (!HasLog(disk)) continue;
    const DiskFiles& files = session.files(disk.name());
    const Bytes size = Mebibytes(disk.size_mib());
    auto read = ReadLogBack(files.log.get(), size + kStripBytes);
    // Whatever is wrong with it, the guest wrote it.
    if (!read.ok())
      return GuestError("log of disk " + disk.name() + ": " + read.error().ToString());
    RecordedDisk& recorded = *manifest.add_disk();
    recorded.set_name(disk.name());
    recorded.set_size_bytes(size.value);
    recorded.set_strip_bytes(kStripBytes.value);
    recorded.set_log_file(disk.name() + ".log.zst");
    recorded.set_log_bytes(read->log.end.value);
    recorded.set_sends_flushes(SendsFlushes(disk));
    if (const auto seed = PoisonSeed(plan, disk)) recorded.set_poison_seed(*seed);
    for (const std::string& table : session.tables(disk.name())) recorded.add_table(table);
    PP_RETURN_IF_ERROR(writer.AddCompressed(recorded.log_file(),
                                            read->mapping.bytes().first(read->log.end.value)));
    if (files.host_log.valid()) {
      PP_RETURN_IF_ERROR(AddHostLog(files, size + kStripBytes, writer, recorded));
    }
    std::string problem;
    if (read->log.dropped)
      problem = "its log cannot be read to its end: " + read->log.dropped->reason;
    if (problem.empty()) {
      PP_ASSIGN_OR_RETURN(problem, ReplayProblem(read->log, files.data.get(), size,
                                                 session.ContentOf(disk.name()), recorded));
    }
    if (!problem.empty() && !manifest.has_incomplete_reason()) {
      manifest.set_incomplete_reason(fmt::format("disk {}: {}", disk.name(), problem));
    }
  }
  return OkStatus();
}

Status WriteRecording(const scenario::Plan& plan, const GuestSession& session,
                      const GuestImage& image, const RecordOptions& options, uint64_t guest_wall_ms,
                      recording::Writer writer) {
  Recording manifest;
  manifest.set_plugpull_version(kVersion);
  *manifest.mutable_scenario() = plan.scenario();
  manifest.set_variant(plan.variant());
  manifest.set_seed(plan.scenario().seed());
  manifest.set_kernel_release(session.kernel_release());
  manifest.set_accelerator(image.accelerator);
  manifest.set_guest_wall_ms(guest_wall_ms);
  manifest.set_scenario_path(options.scenario_path);
  if (const auto version = vm::QemuVersion(); version.ok()) manifest.set_qemu_version(*version);
  if (!session.incomplete_reason().empty())
    manifest.set_incomplete_reason(session.incomplete_reason());
  for (const DamageEvidence& damage : session.damage()) *manifest.add_damage() = damage;
  for (const RecordedFault& fault : session.faults()) *manifest.add_fault() = fault;
  for (const UnmetDemand& unmet : session.unmet_demands()) *manifest.add_unmet_demand() = unmet;
  PP_RETURN_IF_ERROR(AddDisks(plan, session, writer, manifest));
  for (const WorkloadTrace& trace : session.traces()) PP_RETURN_IF_ERROR(writer.AddTrace(trace));
  PP_RETURN_IF_ERROR(writer.AddWritten(recording::kConsoleName));
  return writer.Finish(std::move(manifest));
}

Result<GuestImage> ImageFor(const scenario::Plan& plan, const RecordOptions& options) {
  if (options.image) return *options.image;
  return PrepareGuestImage(plan.scenario().guest(), options.accelerator, options.scenario_path);
}

void Say(const RecordOptions& options, const std::string& what) {
  if (options.progress) options.progress(what);
}

// Boots, records, and writes the recording. The console is written where it stays when any of that
// fails.
Status RecordInto(const scenario::Plan& plan, const std::string& folder, const std::string& console,
                  const GuestImage& image, const RecordOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto say = [&](const std::string& what) { Say(options, what); };
  const std::string scratch = fs::path(console).parent_path().string();
  PP_ASSIGN_OR_RETURN(const auto session, GuestSession::Start(plan, image, scratch, console, false,
                                                              options.start_machine, say));
  PP_RETURN_IF_ERROR(session->RunSteps());
  const auto wall = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - start);
  say("writing the recording");
  PP_ASSIGN_OR_RETURN(recording::Writer writer, recording::Writer::Start(folder));
  std::error_code error;
  fs::copy_file(console, writer.PathOf(recording::kConsoleName), error);
  if (error) return EnvironmentError(fmt::format("cannot copy {}: {}", console, error.message()));
  return WriteRecording(plan, *session, image, options, static_cast<uint64_t>(wall.count()),
                        std::move(writer));
}

// The error, saying where the guest's console is.
Error NamingConsole(Error error, const std::string& console) {
  if (os::Exists(console) && error.message.find(console) == std::string::npos) {
    error.message += fmt::format(" (the guest's console: {})", console);
  }
  return error;
}

}  // namespace

Result<std::string> RecordPlan(const scenario::Plan& plan, const Workdir& workdir,
                               const RecordOptions& options) {
  const std::string folder = workdir.RecordingFolder(options.place);
  const std::string failed = workdir.FailedFolder(options.place);
  PP_RETURN_IF_ERROR(os::RemoveAll(failed));
  PP_RETURN_IF_ERROR(os::RemoveAll(folder));  // an older one must not be taken for this run's
  PP_RETURN_IF_ERROR(os::RemoveAll(Workdir::RecoveriesFolder(folder)));
  PP_ASSIGN_OR_RETURN(const GuestImage image, ImageFor(plan, options));
  PP_RETURN_IF_ERROR(os::MakeFolders(failed));
  const std::string console = failed + "/" + recording::kConsoleName;
  auto recorded = RecordInto(plan, folder, console, image, options);
  if (!recorded.ok()) return NamingConsole(std::move(recorded).error(), console);
  PP_RETURN_IF_ERROR(os::RemoveAll(failed));
  return folder;
}

Status OpenGuestShell(const scenario::Plan& plan, const RecordOptions& options) {
  PP_ASSIGN_OR_RETURN(const GuestImage image, ImageFor(plan, options));
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  const auto say = [&](const std::string& what) { Say(options, what); };
  PP_ASSIGN_OR_RETURN(const auto session, GuestSession::Start(plan, image, cache, "", true,
                                                              options.start_machine, say));
  return session->RunShell();
}

}  // namespace plugpull::run
