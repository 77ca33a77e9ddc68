// SPDX-License-Identifier: Apache-2.0
#include "framework/run/workdir.h"

#include <fmt/format.h>
#include <google/protobuf/text_format.h>

#include "framework/image/fingerprint.h"
#include "framework/os/file.h"
#include "framework/recording/text_proto.h"

namespace plugpull::run {
namespace {

constexpr Bytes kReportBytesMax(256 << 20);

// The folder that a recording lies in, with a slash; empty: the present one.
std::string Beside(const std::string& recording) {
  std::string folder = recording;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  const size_t slash = folder.rfind('/');
  return slash == std::string::npos ? "" : folder.substr(0, slash + 1);
}

}  // namespace

Result<Workdir> Workdir::Open(const std::string& root) {
  PP_RETURN_IF_ERROR(os::MakeFolders(root));
  return Workdir(root);
}

std::string Workdir::PlaceOf(const std::string& scenario, const std::string& variant) {
  return scenario + "/" + (variant.empty() ? "default" : variant);
}

std::string Workdir::RecoveriesFolder(const std::string& recording) {
  return Beside(recording) + "recoveries";
}

std::string Workdir::BootsFolder(const std::string& recording) {
  return Beside(recording) + "boots";
}

std::string Workdir::BootRecording(const std::string& recording, uint32_t number) {
  return fmt::format("{}/{}/recording", BootsFolder(recording), number);
}

std::string Workdir::RecoveryRecording(const std::string& recording, const std::string& who,
                                       const std::string& state) {
  constexpr size_t kNameBytesMax = 100;  // of 255 that file systems allow
  std::string name = who + "-" + state;
  if (name.size() > kNameBytesMax) {
    const image::Fingerprint fingerprint =
        image::FingerprintOf({reinterpret_cast<const uint8_t*>(state.data()), state.size()});
    name = name.substr(0, kNameBytesMax - 33) + "-" + fingerprint.ToHex();
  }
  return RecoveriesFolder(recording) + "/" + name + "/recording";
}

Status Workdir::WriteReports(const ReportList& reports, const std::string& json,
                             const std::string& junit) const {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(reports, &text)) {
    return InternalError("a report cannot be printed");
  }
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(ReportFile(), text));
  PP_RETURN_IF_ERROR(os::WriteFileAtomic(JsonFile(), json));
  return os::WriteFileAtomic(JUnitFile(), junit);
}

Status Workdir::RemoveReports() const {
  for (const std::string& file : {ReportFile(), JsonFile(), JUnitFile()}) {
    PP_RETURN_IF_ERROR(os::RemoveAll(file));
  }
  return OkStatus();
}

Result<ReportList> Workdir::ReadReports(const std::string& root) {
  const std::string path = Workdir(root).ReportFile();
  if (!os::Exists(path)) {
    return UserError(fmt::format(
        "{} is no results folder: it has no report.textproto; make one with: plugpull run SCENARIO "
        "--out {}",
        root, root));
  }
  PP_ASSIGN_OR_RETURN(const std::string text, os::ReadFile(path, kReportBytesMax));
  ReportList reports;
  const Status parsed = recording::ParseTextProto(text, recording::UnknownFields::kRefuse, reports);
  if (!parsed.ok()) {
    return UserError(fmt::format("{} is damaged ({}); run again", path, parsed.error().message));
  }
  return reports;
}

}  // namespace plugpull::run
