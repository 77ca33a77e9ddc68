// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "framework/base/check.h"
#include "framework/incident/incident.h"
#include "framework/incident/incident_json.h"
#include "framework/incident/signature.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {
namespace {

bool Printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<uint8_t>(c) >= 0x20 && c != 0x7f; });
}

void CheckLoop(const incident::Loop& loop) {
  PP_CHECK(loop.closed >= incident::kCyclesMin && !loop.steps.empty());
  PP_CHECK(loop.alike <= loop.closed && loop.whole >= loop.closed);
  PP_CHECK(loop.whole <= loop.closed + 1);
  PP_CHECK(std::any_of(loop.steps.begin(), loop.steps.end(), [](const incident::CycleStep& step) {
    return step.kind == incident::Event::Kind::kMountFailed;
  }));
  if (!loop.period) return;
  PP_CHECK(0 <= loop.period->min_s && loop.period->min_s <= loop.period->median_s);
  PP_CHECK(loop.period->median_s <= loop.period->max_s);
}

void CheckReport(const incident::DeviceReport& report) {
  PP_CHECK(!report.device.empty() && !report.summary.empty() && Printable(report.summary));
  PP_CHECK(report.confidence > 0 && report.confidence < 1);
  PP_CHECK(report.mounts <= report.attempts && report.re_attachments <= report.attachments);
  if (report.verdict.loop) CheckLoop(*report.verdict.loop);
  PP_CHECK(!(report.verdict.loop && report.mounts == report.attempts));
  const incident::Signature signature = incident::SignatureOf(report);
  const auto again = incident::ParseSignature(incident::RenderSignature(signature));
  PP_CHECK(again.ok() && *again == signature);
  const incident::Comparison same = incident::Compare(signature, signature);
  PP_CHECK(same.match && same.score > 0.999);
}

}  // namespace

void FuzzIncident(Input input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto signature = incident::ParseSignature(text);
  PP_CHECK(signature.ok() || !signature.error().message.empty());
  const auto incident = incident::ReadIncident(text);
  if (!incident.ok()) {
    PP_CHECK(incident.error().code == ErrorCode::kUser && !incident.error().message.empty());
    return;
  }
  for (const auto& report : incident->devices) CheckReport(report);
  PP_CHECK(nlohmann::json::accept(incident::RenderIncidentJson(*incident)));
}

}  // namespace plugpull::fuzz
