// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/load.h"

#include "framework/os/file.h"
#include "framework/scenario/read_message.h"
#include "framework/scenario/validate.h"

namespace plugpull::scenario {

namespace {

LoadOutcome Failed(Reporter& reporter) { return {std::nullopt, reporter.Take()}; }

}  // namespace

LoadOutcome LoadScenarioText(std::string_view text, const std::string& file) {
  Reporter reporter(file);
  LoadedScenario loaded;
  loaded.file = file;
  if (!ReadMessage(text, "scenario", loaded.scenario, loaded.source, reporter)) {
    return Failed(reporter);
  }
  ValidateInto(loaded.scenario, loaded.source, reporter);
  if (!reporter.empty()) return Failed(reporter);
  for (int i = 0; i < loaded.scenario.step_size(); ++i) {
    const SourceNode* node = loaded.source.Find(Scenario::kStepFieldNumber, i);
    loaded.scenario.mutable_step(i)->set_line(node == nullptr ? 0 : node->name.line);
  }
  return {std::move(loaded), {}};
}

LoadOutcome LoadScenarioFile(const std::string& path) {
  const auto failed = [&path](std::string message) {
    return LoadOutcome{std::nullopt, {{path, {}, std::move(message)}}};
  };
  if (!os::Exists(path)) return failed("there is no such file");
  if (os::IsFolder(path)) {
    return failed("this is a folder; name a scenario file in it, such as quickstart.textproto");
  }
  Result<std::string> text = os::ReadFile(path, kScenarioBytesMax);
  if (!text.ok()) return failed(text.error().message);
  return LoadScenarioText(*text, path);
}

Result<LoadedScenario> LoadScenario(const std::string& path) {
  LoadOutcome outcome = LoadScenarioFile(path);
  if (!outcome.ok()) return ToError(outcome.diagnostics);
  return *std::move(outcome.loaded);
}

}  // namespace plugpull::scenario
