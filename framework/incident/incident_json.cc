// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/incident_json.h"

#include <nlohmann/json.hpp>

namespace plugpull::incident {
namespace {

using Json = nlohmann::ordered_json;  // keys in the order in which they are written

Json LoopJson(const std::optional<Loop>& loop) {
  if (!loop) return nullptr;
  Json json = {{"events", EventWords(*loop)}, {"period_s", nullptr},    {"count", loop->whole},
               {"cut_off", loop->cut_off},    {"alike", loop->alike},   {"closed", loop->closed},
               {"period_min_s", nullptr},     {"period_max_s", nullptr}};
  if (loop->period) {
    json["period_s"] = loop->period->median_s;
    json["period_min_s"] = loop->period->min_s;
    json["period_max_s"] = loop->period->max_s;
  }
  return json;
}

Json FailuresJson(const DeviceReport& report) {
  Json json = Json::object();
  for (int i = 1; i < kFailures; ++i) {
    const uint64_t count = report.failures[static_cast<size_t>(i)];
    if (count > 0) json[FailureWords(static_cast<Failure>(i))] = count;
  }
  return json;
}

template <typename T>
Json OrNull(bool known, const T& value) {
  return known ? Json(value) : Json(nullptr);
}

Json DeviceJson(const DeviceReport& report) {
  return {
      {"device", report.device},
      {"filesystem",
       OrNull(report.fs != FileSystem::kUnknown, std::string(FileSystemName(report.fs)))},
      {"options", report.options},
      {"loop", LoopJson(report.verdict.loop)},
      {"attempts", report.attempts},
      {"gave_up", report.gave_up()},
      {"confidence", report.confidence},
      {"summary", report.summary},
      {"reasons", report.reasons},
      {"names", report.names},
      {"size_bytes", OrNull(report.size_bytes.has_value(), report.size_bytes.value_or(0))},
      {"uuids", report.uuids},
      {"mounts", report.mounts},
      {"failures", FailuresJson(report)},
      {"failed_recognitions", report.failures[static_cast<size_t>(Failure::kNotRecognised)]},
      {"attachments", report.attachments},
      {"reattachments", report.re_attachments},
      {"detachments", report.detachments},
      {"unmounts", report.unmounts},
      {"first_format", report.first_format},
      {"io_errors", report.io_errors},
      {"journal_errors", report.journal_errors},
      {"filesystem_errors", report.file_system_errors},
      {"recoveries", report.recoveries},
      {"read_only", report.read_only},
      {"suppressed", report.suppressed},
      {"first_line", report.first_line},
  };
}

}  // namespace

std::string RenderIncidentJson(const Incident& incident) {
  Json json;
  if (incident.devices.empty()) {
    json = {{"device", nullptr},
            {"filesystem", nullptr},
            {"options", Json::array()},
            {"loop", nullptr},
            {"attempts", 0},
            {"gave_up", false},
            {"confidence", 0.9},
            {"summary", "The log says nothing of disks or file systems; no loop."}};
  } else {
    json = DeviceJson(incident.devices.front());
  }
  json["devices"] = Json::array();
  for (const DeviceReport& report : incident.devices) json["devices"].push_back(DeviceJson(report));
  const KlogSummary& log = incident.log;
  json["log"] = {{"form", log.form},           {"lines", log.lines},
                 {"records", log.records},     {"foreign", log.foreign},
                 {"cut_lines", log.cut_lines}, {"broken_entries", log.broken_entries},
                 {"boots", log.boots},         {"missed", log.missed}};
  json["notes"] = incident.notes;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace plugpull::incident
