// SPDX-License-Identifier: Apache-2.0
#include "framework/recording/recording.h"

#include <fmt/format.h>
#include <google/protobuf/text_format.h>
#include <zstd.h>

#include <algorithm>
#include <limits>

#include "framework/image/fingerprint.h"
#include "framework/os/file.h"
#include "framework/recording/compress.h"
#include "framework/recording/text_proto.h"

namespace plugpull::recording {
namespace {

constexpr Bytes kManifestBytesMax(8 << 20);
constexpr uint64_t kTraceBytesMax = std::numeric_limits<int32_t>::max();  // protobuf's own bound
// Behind what is said of a damaged recording.
constexpr char kWhatToDo[] = "copy the recording again from where it was whole, or record again";
constexpr std::string_view kSealPrefix = "# xxh3-128 of the lines above: ";

std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A name in a manifest must not lead out of the folder.
bool PlainName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name[0] != '.';
}

Status ParseManifest(const std::string& path, std::string_view text, Recording& manifest) {
  const size_t seal = text.rfind(kSealPrefix);
  if (seal == std::string_view::npos) {
    return UserError(fmt::format("{} is cut short: its last line, the checksum, is missing; {}",
                                 path, kWhatToDo));
  }
  const std::string_view expected = text.substr(seal + kSealPrefix.size());
  const std::string_view body = text.substr(0, seal);
  const Status parsed = ParseTextProto(body, UnknownFields::kSkip, manifest);
  if (manifest.format_version() > kFormatVersion) {
    return UserError(
        fmt::format("{} has format version {}; this plugpull reads up to {}: use a "
                    "newer one",
                    path, manifest.format_version(), kFormatVersion));
  }
  if (image::FingerprintOf(AsBytes(body)).ToHex() + "\n" != expected) {
    return UserError(fmt::format("{} is damaged: its checksum is wrong; {}", path, kWhatToDo));
  }
  if (!parsed.ok()) {
    return UserError(
        fmt::format("{} cannot be read: {}; {}", path, parsed.error().message, kWhatToDo));
  }
  return OkStatus();
}

// A log is one of the files that the manifest has checksums of.
Status CheckListed(const std::string& path, const Recording& manifest, const RecordedDisk& disk,
                   const std::string& log) {
  const auto& files = manifest.file();
  const bool listed = std::any_of(files.begin(), files.end(),
                                  [&](const RecordedFile& file) { return file.name() == log; });
  if (listed) return OkStatus();
  return UserError(fmt::format("{} names '{}', the log of disk {}, among no files; {}", path, log,
                               disk.name(), kWhatToDo));
}

Status WriteManifest(const std::string& path, const Recording& manifest) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(manifest, &text)) {
    return InternalError("the manifest of a recording cannot be printed");
  }
  text =
      "# proto-file: framework/proto/recording.proto\n# proto-message: plugpull.Recording\n" + text;
  text += fmt::format("{}{}\n", kSealPrefix, image::FingerprintOf(AsBytes(text)).ToHex());
  return os::WriteFileAtomic(path, text);
}

}  // namespace

Writer::Writer(std::string folder) : folder_(std::move(folder)) {
  while (folder_.size() > 1 && folder_.ends_with('/')) folder_.pop_back();
  partial_ = folder_ + ".partial";
}

Writer::Writer(Writer&& other) noexcept
    : folder_(std::move(other.folder_)),
      partial_(std::exchange(other.partial_, {})),
      files_(std::move(other.files_)) {}

Writer::~Writer() {
  if (partial_.empty()) return;
  const Status removed = os::RemoveAll(partial_);
  (void)removed.ok();  // a leftover is swept by the next Start
}

Result<Writer> Writer::Start(const std::string& folder) {
  Writer writer(folder);
  PP_RETURN_IF_ERROR(os::RemoveAll(writer.partial_));
  PP_RETURN_IF_ERROR(os::MakeFolders(writer.partial_));
  return writer;
}

std::string Writer::PathOf(std::string_view name) const {
  return partial_ + "/" + std::string(name);
}

Status Writer::AddWritten(const std::string& name) {
  PP_ASSIGN_OR_RETURN(const os::MappedFile file, os::MappedFile::Open(PathOf(name)));
  RecordedFile entry;
  entry.set_name(name);
  entry.set_bytes(file.bytes().size());
  entry.set_xxh3(image::FingerprintOf(file.bytes()).ToHex());
  files_.push_back(std::move(entry));
  return OkStatus();
}

Status Writer::AddCompressed(const std::string& name, std::span<const uint8_t> bytes) {
  PP_ASSIGN_OR_RETURN(const auto compressed, Compress(bytes));
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(
      PathOf(name), {reinterpret_cast<const char*>(compressed.data()), compressed.size()}));
  return AddWritten(name);
}

Status Writer::AddTrace(const WorkloadTrace& trace) {
  const std::string bytes = trace.SerializeAsString();
  return AddCompressed(fmt::format("workload-{}.pb.zst", trace.workload()), AsBytes(bytes));
}

Result<std::string> Writer::AddPromise(const WorkloadTrace& trace, int number) {
  std::string name = fmt::format("promise-{}.pb.zst", number);
  const std::string bytes = trace.SerializeAsString();
  PP_RETURN_IF_ERROR(AddCompressed(name, AsBytes(bytes)));
  return name;
}

Status ReplaceManifest(const std::string& folder, const Recording& manifest) {
  return WriteManifest(folder + "/" + kManifestName, manifest);
}

Status Writer::Finish(Recording manifest) {
  manifest.set_format_version(kFormatVersion);
  manifest.clear_file();
  for (const RecordedFile& file : files_) *manifest.add_file() = file;
  PP_RETURN_IF_ERROR(WriteManifest(PathOf(kManifestName), manifest));
  PP_RETURN_IF_ERROR(os::RemoveAll(folder_));
  PP_RETURN_IF_ERROR(os::Rename(partial_, folder_));
  partial_.clear();
  return OkStatus();
}

Result<Reader> Reader::Open(const std::string& folder) {
  Reader reader;
  reader.folder_ = folder;
  const std::string path = folder + "/" + kManifestName;
  if (!os::Exists(path)) {
    return UserError(
        fmt::format("{} is no recording: it has no {}; make one with: plugpull record "
                    "SCENARIO",
                    folder, kManifestName));
  }
  PP_ASSIGN_OR_RETURN(const std::string text, os::ReadFile(path, kManifestBytesMax));
  PP_RETURN_IF_ERROR(ParseManifest(path, text, reader.manifest_));
  for (const RecordedFile& file : reader.manifest_.file()) {
    const std::string name = folder + "/" + file.name();
    if (!PlainName(file.name())) {
      return UserError(fmt::format("{} names the file '{}', which leads out of the folder; {}",
                                   path, file.name(), kWhatToDo));
    }
    if (!os::Exists(name)) return UserError(fmt::format("{} is missing; {}", name, kWhatToDo));
    PP_ASSIGN_OR_RETURN(const os::MappedFile mapped, os::MappedFile::Open(name));
    if (mapped.bytes().size() != file.bytes()) {
      return UserError(fmt::format("{} is damaged: {} bytes, {} were recorded; {}", name,
                                   mapped.bytes().size(), file.bytes(), kWhatToDo));
    }
    if (image::FingerprintOf(mapped.bytes()).ToHex() != file.xxh3()) {
      return UserError(fmt::format("{} is damaged: its checksum is wrong; {}", name, kWhatToDo));
    }
  }
  for (const RecordedDisk& disk : reader.manifest_.disk()) {
    PP_RETURN_IF_ERROR(CheckListed(path, reader.manifest_, disk, disk.log_file()));
    if (disk.has_host_log_file()) {
      PP_RETURN_IF_ERROR(CheckListed(path, reader.manifest_, disk, disk.host_log_file()));
    }
  }
  return reader;
}

const RecordedDisk* Reader::FindDisk(const std::string& name) const {
  for (const RecordedDisk& disk : manifest_.disk()) {
    if (disk.name() == name) return &disk;
  }
  return nullptr;
}

Result<std::vector<uint8_t>> Reader::ReadCompressed(const std::string& name, uint64_t size) const {
  if (!PlainName(name)) {
    return UserError(fmt::format("'{}' is no name of a recorded file; {}", name, kWhatToDo));
  }
  PP_ASSIGN_OR_RETURN(const os::MappedFile file, os::MappedFile::Open(folder_ + "/" + name));
  auto bytes = Decompress(file.bytes(), Bytes(size));
  if (bytes.ok() || bytes.error().code != ErrorCode::kUser) return bytes;
  return UserError(fmt::format("{}/{}: {}; {}", folder_, name, bytes.error().message, kWhatToDo));
}

Result<std::vector<uint8_t>> Reader::ReadLog(const RecordedDisk& disk) const {
  if (disk.log_bytes() > kLogBytesMax) {
    return UserError(
        fmt::format("the log of disk {} has {} bytes; at most {} are read; "
                    "record fewer operations",
                    disk.name(), disk.log_bytes(), kLogBytesMax));
  }
  return ReadCompressed(disk.log_file(), disk.log_bytes());
}

Result<std::vector<uint8_t>> Reader::ReadHostLog(const RecordedDisk& disk) const {
  if (!disk.has_host_log_file()) {
    return UserError(fmt::format("the recording has no log of the host of disk {}: {}", disk.name(),
                                 disk.has_host_log_missing()
                                     ? disk.host_log_missing()
                                     : "none was asked for (`host_log: true` of the disk)"));
  }
  if (disk.host_log_bytes() > kLogBytesMax) {
    return UserError(fmt::format("the host's log of disk {} has {} bytes; at most {} are read",
                                 disk.name(), disk.host_log_bytes(), kLogBytesMax));
  }
  return ReadCompressed(disk.host_log_file(), disk.host_log_bytes());
}

Result<WorkloadTrace> Reader::ReadTrace(const std::string& name) const {
  const auto& files = manifest_.file();
  const bool listed = std::any_of(files.begin(), files.end(),
                                  [&](const RecordedFile& file) { return file.name() == name; });
  if (!listed) {
    return UserError(fmt::format("{} names '{}' among no files; {}", folder_, name, kWhatToDo));
  }
  PP_ASSIGN_OR_RETURN(const os::MappedFile mapped, os::MappedFile::Open(folder_ + "/" + name));
  const auto size = ZSTD_getFrameContentSize(mapped.bytes().data(), mapped.bytes().size());
  if (size > kTraceBytesMax) {  // also the values that stand for errors
    return UserError(fmt::format("{}/{} is damaged or longer than {} bytes; {}", folder_, name,
                                 kTraceBytesMax, kWhatToDo));
  }
  PP_ASSIGN_OR_RETURN(const auto bytes, ReadCompressed(name, size));
  WorkloadTrace trace;
  if (!trace.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return UserError(fmt::format("{}/{} holds no workload trace; {}", folder_, name, kWhatToDo));
  }
  return trace;
}

Result<std::vector<WorkloadTrace>> Reader::ReadTraces(const std::string& disk) const {
  std::vector<WorkloadTrace> traces;
  for (const RecordedFile& file : manifest_.file()) {
    if (!file.name().starts_with("workload-")) continue;
    PP_ASSIGN_OR_RETURN(WorkloadTrace trace, ReadTrace(file.name()));
    if (trace.disk() == disk) traces.push_back(std::move(trace));
  }
  return traces;
}

Result<std::optional<Timeline>> Reader::ReadTimeline() const {
  if (!manifest_.has_timeline_file()) return std::optional<Timeline>();
  if (manifest_.timeline_bytes() > kTimelineBytesMax) {
    return UserError(fmt::format("the timeline in {} has {} bytes; at most {} are read", folder_,
                                 manifest_.timeline_bytes(), kTimelineBytesMax));
  }
  PP_ASSIGN_OR_RETURN(const auto bytes,
                      ReadCompressed(manifest_.timeline_file(), manifest_.timeline_bytes()));
  Timeline timeline;
  if (!timeline.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return UserError(
        fmt::format("{}/{} holds no timeline; {}", folder_, manifest_.timeline_file(), kWhatToDo));
  }
  return std::optional<Timeline>(std::move(timeline));
}

}  // namespace plugpull::recording
