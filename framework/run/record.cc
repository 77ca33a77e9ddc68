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
#include "framework/run/disk_check.h"
#include "framework/run/guest_session.h"
#include "framework/run/log_file.h"
#include "framework/run/power_cut.h"
#include "framework/run/promises.h"
#include "framework/run/recovery_log.h"
#include "framework/run/state_images.h"
#include "framework/scenario/boots.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull::run {
namespace {

// Free space of the results folder below which what the guest met is not relied on.
constexpr Bytes kSpaceMin = Mebibytes(4);

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

// One boot of a plan. A plan without power cuts has one.
struct Boot {
  Scenario scenario;  // with its own steps only
  RecordedBoot recorded;
  bool counts = false;  // the plan has power cuts
  std::string folder;
  std::string console;
  // What the boot before left; null: nothing, this is the first.
  const PowerCutChoice* before = nullptr;

  const CutDisk* Before(const std::string& disk) const {
    if (before == nullptr) return nullptr;
    const auto found = before->disks.find(disk);
    return found == before->disks.end() ? nullptr : &found->second;
  }
};

// The log of a boot behind a power cut: the state that the disk had, written to a disk of zeroes,
// and what the guest logged.
Result<std::vector<uint8_t>> LogFromState(const CutDisk& before, const blocklog::BlockLog& logged) {
  StateImages images(*before.source);
  images.MoveTo(before.spec);
  blocklog::LogWriter log(logged.sector_bytes);
  PP_RETURN_IF_ERROR(AddState(images, log));
  AddEntries(logged, log);
  return log.bytes();
}

// Keeps the guest's log of a disk. Returns what is wrong with it, or nothing.
Result<std::string> AddGuestLog(const GuestSession& session, const Boot& boot, const Disk& disk,
                                const ReadBack& read, recording::Writer& writer,
                                RecordedDisk& recorded) {
  const Bytes size = Mebibytes(disk.size_mib());
  const CutDisk* before = boot.Before(disk.name());
  std::vector<uint8_t> composed;
  std::span<const uint8_t> bytes = read.mapping.bytes().first(read.log.end.value);
  blocklog::BlockLog log = read.log;
  if (before != nullptr) {
    PP_ASSIGN_OR_RETURN(composed, LogFromState(*before, read.log));
    bytes = composed;
    PP_ASSIGN_OR_RETURN(log, blocklog::ReadLog(composed, {false, size + kStripBytes}));
    recorded.set_state(crashstate::IdOf(before->source->space(), before->spec).ToString());
  } else if (const auto seed = PoisonSeed(boot.scenario, disk)) {
    recorded.set_poison_seed(*seed);
  }
  recorded.set_log_bytes(bytes.size());
  PP_RETURN_IF_ERROR(writer.AddCompressed(recorded.log_file(), bytes));
  if (read.log.dropped) {
    return "its log cannot be read to its end: " + read.log.dropped->reason;
  }
  return ReplayProblem(log, session.files(disk.name()).data.get(), size,
                       session.ContentOf(disk.name()), recorded);
}

Status AddDisks(const Boot& boot, const GuestSession& session, recording::Writer& writer,
                Recording& manifest) {
  for (const Disk& disk : boot.scenario.disk()) {
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
    recorded.set_sends_flushes(SendsFlushes(disk));
    for (const std::string& table : session.tables(disk.name())) recorded.add_table(table);
    PP_ASSIGN_OR_RETURN(const std::string problem,
                        AddGuestLog(session, boot, disk, *read, writer, recorded));
    if (files.host_log.valid()) {
      PP_RETURN_IF_ERROR(AddHostLog(files, size + kStripBytes, writer, recorded));
    }
    if (!problem.empty() && !manifest.has_incomplete_reason()) {
      manifest.set_incomplete_reason(fmt::format("disk {}: {}", disk.name(), problem));
    }
  }
  return OkStatus();
}

// What earlier boots had made durable, as far as the steps of this one leave it alone.
Status AddPromises(const Boot& boot, recording::Writer& writer, RecordedBoot& recorded) {
  if (boot.before == nullptr) return OkStatus();
  for (const auto& [name, disk] : boot.before->disks) {
    for (const std::string& words : disk.not_kept) recorded.add_not_judged(words);
    const std::string end = StepThatEndsPromises(boot.scenario, name);
    if (!end.empty() && !disk.promises.empty()) {
      recorded.add_not_judged(fmt::format(
          "what earlier boots had made durable on disk {} is not held against this one: {}", name,
          end));
      continue;
    }
    for (const TracedPromise& promise : disk.promises) {
      RecordedPromise& kept = *recorded.add_promise();
      kept.set_disk(name);
      kept.set_boot(promise.boot);
      kept.set_ended(promise.key.ended_count);
      kept.set_begun(promise.key.begun_count);
      PP_ASSIGN_OR_RETURN(*kept.mutable_file(),
                          writer.AddPromise(promise.trace, recorded.promise_size() - 1));
    }
  }
  return OkStatus();
}

Status WriteRecording(const scenario::Plan& plan, const Boot& boot, const GuestSession& session,
                      const GuestImage& image, const RecordOptions& options, uint64_t guest_wall_ms,
                      recording::Writer writer) {
  Recording manifest;
  manifest.set_plugpull_version(kVersion);
  *manifest.mutable_scenario() = boot.scenario;
  manifest.set_variant(plan.variant());
  manifest.set_seed(plan.scenario().seed());
  manifest.set_kernel_release(session.kernel_release());
  manifest.set_accelerator(image.accelerator);
  manifest.set_guest_wall_ms(guest_wall_ms);
  manifest.set_scenario_path(options.scenario_path);
  if (!options.agent_path.empty()) manifest.set_agent_path(options.agent_path);
  if (const auto version = vm::QemuVersion(); version.ok()) manifest.set_qemu_version(*version);
  if (!session.incomplete_reason().empty())
    manifest.set_incomplete_reason(session.incomplete_reason());
  for (const DamageEvidence& damage : session.damage()) *manifest.add_damage() = damage;
  for (const RecordedFault& fault : session.faults()) *manifest.add_fault() = fault;
  for (const UnmetDemand& unmet : session.unmet_demands()) *manifest.add_unmet_demand() = unmet;
  PP_RETURN_IF_ERROR(AddDisks(boot, session, writer, manifest));
  manifest.set_guest_clock_ms(session.guest_clock_ms());
  if (session.timeline()) {
    const std::string bytes = session.timeline()->SerializeAsString();
    manifest.set_timeline_file(recording::kTimelineName);
    manifest.set_timeline_bytes(bytes.size());
    PP_RETURN_IF_ERROR(writer.AddCompressed(
        recording::kTimelineName, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  }
  if (boot.counts) {
    *manifest.mutable_boot() = boot.recorded;
    PP_RETURN_IF_ERROR(AddPromises(boot, writer, *manifest.mutable_boot()));
  }
  for (const WorkloadTrace& trace : session.traces()) PP_RETURN_IF_ERROR(writer.AddTrace(trace));
  PP_RETURN_IF_ERROR(writer.AddWritten(recording::kConsoleName));
  return writer.Finish(std::move(manifest));
}

Result<GuestImage> ImageFor(const scenario::Plan& plan, const RecordOptions& options) {
  if (options.image) return *options.image;
  const auto& steps = plan.scenario().step();
  const bool needs_kubelet = std::any_of(steps.begin(), steps.end(),
                                         [](const Step& step) { return step.agent().has_csi(); });
  return PrepareGuestImage(plan.scenario().guest(), options.accelerator, options.scenario_path,
                           needs_kubelet);
}

void Say(const RecordOptions& options, const std::string& what) {
  if (options.progress) options.progress(what);
}

// Boots, records, and writes the recording. The console is written where it stays when any of that
// fails. Returns the files of disks without a log, for the next boot.
Result<std::map<std::string, DiskFiles>> RecordBoot(const scenario::Plan& plan, const Boot& boot,
                                                    BootStart begin, const GuestImage& image,
                                                    const RecordOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const auto say = [&](const std::string& what) { Say(options, what); };
  const std::string scratch = fs::path(boot.console).parent_path().string();
  PP_ASSIGN_OR_RETURN(const auto session,
                      GuestSession::Start(boot.scenario, std::move(begin), image, scratch,
                                          boot.console, false, options.start_machine, say));
  // Full is what disks of the guest become where the host's is: no fault of the guest's. A full
  // tmpfs also kills who looks at a hole of a mapped file there.
  const Status ran = session->RunSteps();
  const Status space = os::CheckFreeSpace(scratch, kSpaceMin);
  if (!ran.ok() && !space.ok()) {
    return EnvironmentError(
        fmt::format("{}; what came of it: {}", space.error().message, ran.error().ToString()));
  }
  PP_RETURN_IF_ERROR(ran);
  PP_RETURN_IF_ERROR(space);
  const auto wall = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - start);
  say("writing the recording");
  PP_ASSIGN_OR_RETURN(recording::Writer writer, recording::Writer::Start(boot.folder));
  std::error_code error;
  fs::copy_file(boot.console, writer.PathOf(recording::kConsoleName), error);
  if (error) {
    return EnvironmentError(fmt::format("cannot copy {}: {}", boot.console, error.message()));
  }
  PP_RETURN_IF_ERROR(WriteRecording(plan, boot, *session, image, options,
                                    static_cast<uint64_t>(wall.count()), std::move(writer)));
  return session->TakeUnloggedFiles();
}

// The scenario of one boot: its steps, and checks that can judge it.
Scenario ScenarioOfBoot(const Scenario& whole, const scenario::BootSteps& steps, bool later,
                        RecordedBoot& recorded) {
  Scenario own = whole;
  own.clear_step();
  for (int i = steps.first; i < steps.end; ++i) *own.add_step() = whole.step(i);
  if (!later) return own;
  for (Check& check : *own.mutable_check()) {
    // The log begins with the state itself, which nobody cuts.
    check.mutable_model()->set_from(Model::FIRST_MOUNT);
    if (!LeaveOut(STALE_DATA, check)) continue;
    recorded.add_not_judged(
        fmt::format("stale data on disk {} was not judged in this boot: bytes of files of earlier "
                    "boots would be taken for it",
                    check.disk()));
  }
  return own;
}

bool Mounts(const Scenario& boot, const std::string& disk) {
  return std::any_of(boot.step().begin(), boot.step().end(),
                     [&](const Step& step) { return step.mount().disk() == disk; });
}

// Whether the boot makes or damages the file system of the disk itself.
bool MakesAnew(const Scenario& boot, const std::string& disk) {
  return std::any_of(boot.step().begin(), boot.step().end(), [&](const Step& step) {
    return step.mkfs().disk() == disk || step.corrupt().disk() == disk;
  });
}

// Puts the chosen states on disks for the next boot.
Status PutBack(const PowerCutChoice& choice, const Scenario& next, const std::string& scratch,
               BootStart& start) {
  for (const Disk& disk : next.disk()) {
    const auto chosen = choice.disks.find(disk.name());
    if (chosen == choice.disks.end()) continue;
    DiskFiles& files = start.files[disk.name()];
    PP_ASSIGN_OR_RETURN(files.data,
                        os::MakeScratchFile(scratch, Mebibytes(disk.size_mib()) + kStripBytes));
    StateImages images(*chosen->second.source);
    images.MoveTo(chosen->second.spec);
    PP_RETURN_IF_ERROR(images.WriteTo(files.data.get(), Bytes(0)));
    // What mends a broken disk before it is mounted is not cut, for the result is what counts.
    // Neither is what is made before its first mount, as in a first boot.
    const bool cut_at_once = chosen->second.holds && !MakesAnew(next, disk.name());
    if (cut_at_once || !Mounts(next, disk.name())) start.base_is_now.insert(disk.name());
  }
  return OkStatus();
}

// Chooses what the power cut at the end of a boot left, and puts that into its recording. Nothing
// when the boot's recording cannot be relied on.
Result<std::optional<PowerCutChoice>> ChooseInto(const std::string& folder,
                                                 const RecordOptions& options) {
  PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(folder));
  if (reader.manifest().has_incomplete_reason() || reader.manifest().unmet_demand_size() > 0) {
    return std::optional<PowerCutChoice>();
  }
  Say(options, "choosing what the power cut leaves");
  PowerCutOptions cut;
  cut.jobs = options.jobs;
  PP_ASSIGN_OR_RETURN(PowerCutChoice choice, ChoosePowerCut(reader, cut));
  Recording manifest = reader.manifest();
  *manifest.mutable_power_cut() = choice.recorded;
  PP_RETURN_IF_ERROR(recording::ReplaceManifest(folder, manifest));
  return std::optional(std::move(choice));
}

uint32_t WorkloadsBefore(const Scenario& scenario, int step) {
  uint32_t workloads = 0;
  for (int i = 0; i < step; ++i) workloads += scenario.step(i).has_workload() ? 1 : 0;
  return workloads;
}

// The error, saying where the guest's console is.
Error NamingConsole(Error error, const std::string& console) {
  if (os::Exists(console) && error.message.find(console) == std::string::npos) {
    error.message += fmt::format(" (the guest's console: {})", console);
  }
  return error;
}

// Boot `i` of a plan whose first recording is `folder`.
Boot BootOf(const Scenario& whole, const std::vector<scenario::BootSteps>& boots, size_t i,
            const std::string& folder, const std::string& failed) {
  std::string name = folder;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  name = name.substr(name.rfind('/') + 1);
  const auto number = static_cast<uint32_t>(i + 1);
  Boot boot;
  boot.counts = boots[0].power_cut >= 0;
  boot.recorded.set_number(number);
  boot.recorded.set_boots(static_cast<uint32_t>(boots.size()));
  boot.recorded.set_first_step(static_cast<uint32_t>(boots[i].first) + 1);
  if (i == 1) boot.recorded.set_parent("../../../" + name);
  if (i > 1) boot.recorded.set_parent(fmt::format("../../{}/recording", i));
  boot.scenario = ScenarioOfBoot(whole, boots[i], i > 0, boot.recorded);
  boot.folder = i == 0 ? folder : Workdir::BootRecording(folder, number);
  boot.console =
      failed + "/" + (i == 0 ? "" : fmt::format("boot-{}-", number)) + recording::kConsoleName;
  return boot;
}

// Records boots, the first into `folder`, until all are there or a power cut leaves nothing to go
// on with. `last` becomes the folder of the last one that was recorded.
Status RecordBootsInto(const scenario::Plan& plan, const std::string& folder,
                       const std::string& failed, const GuestImage& image,
                       const RecordOptions& options, std::string& last) {
  const Scenario& whole = plan.scenario();
  const std::vector<scenario::BootSteps> boots = scenario::BootsOf(whole);
  BootStart start;
  std::optional<PowerCutChoice> choice;
  for (size_t i = 0; i < boots.size(); ++i) {
    Boot boot = BootOf(whole, boots, i, folder, failed);
    boot.before = choice ? &*choice : nullptr;
    if (choice) PP_RETURN_IF_ERROR(PutBack(*choice, boot.scenario, failed, start));
    start.later = i > 0;
    start.first_workload = WorkloadsBefore(whole, boots[i].first);
    auto files = RecordBoot(plan, boot, std::move(start), image, options);
    if (!files.ok()) {
      Error error = NamingConsole(std::move(files).error(), boot.console);
      if (!boot.counts) return error;
      return WithContext(std::move(error),
                         fmt::format("boot {} of {}, whose first step is step {} of the scenario",
                                     i + 1, boots.size(), boots[i].first + 1));
    }
    last = boot.folder;
    start = BootStart();
    start.files = *std::move(files);
    if (boots[i].power_cut < 0) break;
    PP_ASSIGN_OR_RETURN(choice, ChooseInto(boot.folder, options));
    if (!choice || choice->disks.empty()) break;
  }
  return OkStatus();
}

// Whether nothing went wrong. Where it did, by no fault of the user's, the boots that were recorded
// stay, and the last of them says why there are no more.
Result<bool> RecordBoots(const scenario::Plan& plan, const std::string& folder,
                         const std::string& failed, const GuestImage& image,
                         const RecordOptions& options) {
  std::string last;
  const Status recorded = RecordBootsInto(plan, folder, failed, image, options, last);
  if (recorded.ok()) return true;
  if (last.empty() || recorded.error().code == ErrorCode::kUser) return recorded.error();
  PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(last));
  Recording manifest = reader.manifest();
  manifest.set_incomplete_reason(fmt::format("the boots behind this one are missing: {} error: {}",
                                             ErrorCodeName(recorded.error().code),
                                             recorded.error().ToString()));
  PP_RETURN_IF_ERROR(recording::ReplaceManifest(last, manifest));
  return false;
}

}  // namespace

Result<std::string> RecordPlan(const scenario::Plan& plan, const Workdir& workdir,
                               const RecordOptions& options) {
  const std::string folder = workdir.RecordingFolder(options.place);
  const std::string failed = workdir.FailedFolder(options.place);
  PP_RETURN_IF_ERROR(os::RemoveAll(failed));
  PP_RETURN_IF_ERROR(os::RemoveAll(folder));  // an older one must not be taken for this run's
  PP_RETURN_IF_ERROR(os::RemoveAll(Workdir::RecoveriesFolder(folder)));
  PP_RETURN_IF_ERROR(os::RemoveAll(Workdir::BootsFolder(folder)));
  PP_ASSIGN_OR_RETURN(const GuestImage image, ImageFor(plan, options));
  PP_RETURN_IF_ERROR(os::MakeFolders(failed));
  PP_ASSIGN_OR_RETURN(const bool all, RecordBoots(plan, folder, failed, image, options));
  if (all) PP_RETURN_IF_ERROR(os::RemoveAll(failed));
  return folder;
}

Status OpenGuestShell(const scenario::Plan& plan, const RecordOptions& options) {
  PP_ASSIGN_OR_RETURN(const GuestImage image, ImageFor(plan, options));
  PP_ASSIGN_OR_RETURN(const std::string cache, os::CacheFolder());
  const auto say = [&](const std::string& what) { Say(options, what); };
  PP_ASSIGN_OR_RETURN(const auto session, GuestSession::Start(plan.scenario(), {}, image, cache, "",
                                                              true, options.start_machine, say));
  return session->RunShell();
}

}  // namespace plugpull::run
