// SPDX-License-Identifier: Apache-2.0
#include "framework/run/materialize.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "framework/crashstate/enumerate.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/recording/recording.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {
namespace {

constexpr size_t kLostShown = 20;

// Recovers the state in memory and writes the result over the image.
Status RecoverInto(const DiskSource& source, const crashstate::CrashStateId& id, size_t cut,
                   const std::string& path, std::string& said) {
  PP_ASSIGN_OR_RETURN(oracle::Fsck fsck, oracle::Fsck::Find());
  PP_ASSIGN_OR_RETURN(auto work, oracle::WorkImage::Make(source.base(), source.base_extents()));
  crashstate::StateCursor cursor(source.space());
  cursor.MoveToSelection(cut, id.selection, id.overlapping_older);
  work.Load(cursor.image());
  const oracle::RecoveryResult result = fsck.Recover(work, source.journal());
  said += fmt::format("\nrecovery: {}", result.evidence);
  if (result.outcome == oracle::Outcome::kViolated) {
    said += "\n(refused: nothing was replayed; the image is the disk as the cut left it)";
  } else if (result.outcome == oracle::Outcome::kUnknown) {
    said += "\n(the image is what recovery left)";
  }
  PP_ASSIGN_OR_RETURN(const auto extents, os::DataExtents(work.fd(), Bytes(work.bytes().size())));
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid())
    return EnvironmentError(fmt::format("cannot write {}: {}", path, os::ErrnoText(errno)));
  for (const os::Extent& extent : extents) {
    PP_RETURN_IF_ERROR(os::PwriteAll(
        fd.get(), work.bytes().subspan(extent.start.value, extent.end.value - extent.start.value),
        extent.start));
  }
  return OkStatus();
}

// The image must not take the place of what it is made from.
Status CheckSparesEvidence(const StateImageRequest& request) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path folder = fs::absolute(request.image, ignored).parent_path();
  const bool in_recording =
      !request.recording.empty() && fs::equivalent(folder, request.recording, ignored);
  for (const std::string& source : {request.log, request.base}) {
    if (source.empty() || !fs::equivalent(request.image, source, ignored)) continue;
    return UserError(
        fmt::format("{} is what the state is made from; write to another file", source));
  }
  if (in_recording) {
    return UserError(
        fmt::format("{} lies in the recording itself; write to another folder", request.image));
  }
  return OkStatus();
}

}  // namespace

Status ForEachState(
    const std::string& recording,
    const std::function<bool(const std::string& enumerator, const std::string& id)>& each) {
  PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(recording));
  for (const Check& check : reader.manifest().scenario().check()) {
    PP_ASSIGN_OR_RETURN(const auto source,
                        DiskSource::FromRecording(reader, check.disk(), ModelOf(check.model())));
    const auto enumeration = crashstate::EnumerateStates(
        source->space(), check, reader.manifest().seed(), &source->timeline());
    for (const auto& spec : enumeration.states) {
      if (!each(enumeration.enumerators[spec.enumerator].name,
                crashstate::IdOf(source->space(), spec).ToString())) {
        return OkStatus();
      }
    }
  }
  return OkStatus();
}

Result<std::string> WriteStateImage(const StateImageRequest& request) {
  PP_RETURN_IF_ERROR(CheckSparesEvidence(request));
  PP_ASSIGN_OR_RETURN(const auto id, crashstate::CrashStateId::Parse(request.id));
  std::unique_ptr<DiskSource> source;
  if (!request.recording.empty()) {
    PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(request.recording));
    PP_ASSIGN_OR_RETURN(source, DiskSource::FromRecording(reader, id.disk, id.model));
  } else {
    PP_ASSIGN_OR_RETURN(source, DiskSource::FromLogFile(
                                    {request.log, request.base, request.scan_past_end, id.model}));
  }
  PP_ASSIGN_OR_RETURN(const size_t cut, source->space().CutOfEntry(id.cut));
  PP_ASSIGN_OR_RETURN(const auto lost, source->space().LostEvents(cut, id.selection));
  PP_RETURN_IF_ERROR(source->Materialize(id, request.image));
  std::string said =
      fmt::format("{}: the disk after a power cut before log entry {} ({}), {} writes lost",
                  request.image, id.cut, id.model.ToWords(), lost.size());
  const diagnose::WriteNames& names = source->names();
  for (size_t i = 0; i < std::min(lost.size(), kLostShown); ++i) {
    said += "\n  lost: " + names.EventInWords(lost[i]);
  }
  if (lost.size() > kLostShown) said += fmt::format("\n  and {} more", lost.size() - kLostShown);
  for (const auto& torn : source->space().TornWritesOf(id.selection)) {
    said += "\n  torn: " + names.EventInWords(torn.event);
  }
  if (request.recovered) {
    PP_RETURN_IF_ERROR(RecoverInto(*source, id, cut, request.image, said));
  } else if (!source->journal().blocks.empty()) {
    said += "\n  as the cut left it, its journal not replayed; --recovered replays it";
  }
  return said;
}

}  // namespace plugpull::run
