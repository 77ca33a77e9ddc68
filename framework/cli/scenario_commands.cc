// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "framework/cli/commands.h"
#include "framework/cli/output_file.h"
#include "framework/os/file.h"
#include "framework/scenario/agent_definition.h"
#include "framework/scenario/catalog.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"

namespace plugpull::cli {
namespace {

void PrintDiagnostics(const std::vector<scenario::Diagnostic>& diagnostics) {
  for (const auto& diagnostic : diagnostics) fmt::print(stderr, "{}\n", diagnostic.ToString());
}

nlohmann::json EntryJson(const scenario::CatalogEntry& entry) {
  nlohmann::json json = {{"path", entry.path},
                         {"name", entry.name},
                         {"summary", entry.summary},
                         {"labels", entry.labels},
                         {"variants", entry.variants}};
  auto& errors = json["errors"] = nlohmann::json::array();
  for (const auto& diagnostic : entry.diagnostics) errors.push_back(diagnostic.ToString());
  return json;
}

// Whether a valid scenario is one with the definition too; says what is wrong, or left out.
bool FitsAgent(const std::string& path, const scenario::LoadedDefinition& definition,
               bool in_folder) {
  const auto outcome = scenario::LoadScenarioFile(path);
  if (!outcome.ok()) return false;
  const Scenario& scenario = outcome.loaded->scenario;
  if (in_folder && !scenario::HasAgents(scenario)) return true;
  const auto applied = scenario::ApplyAgent(scenario, path, definition);
  const auto said = [](const Error& error) {
    fmt::print(stderr, "{}\n", error.message);
    return false;
  };
  if (!applied.ok()) return said(applied.error());
  for (const auto& left_out : applied->left_out) {
    fmt::print(stderr, "{}\n", LeftOutWords(scenario.name(), left_out));
  }
  if (applied->nothing_left) return true;
  const auto plans = scenario::ExpandPlans(applied->scenario);
  return plans.ok() || said(plans.error());
}

}  // namespace

std::string LeftOutWords(const std::string& scenario, const scenario::LeftOut& left_out) {
  return fmt::format("left out: {}{}{}: {}", scenario, left_out.variant.empty() ? "" : "/",
                     left_out.variant, left_out.reason);
}

int ListCatalog(const std::string& folder, bool json) {
  const auto entries = scenario::ListScenarios(folder);
  if (!entries.ok()) return Fail(entries.error());
  bool broken = false;
  nlohmann::json list = nlohmann::json::array();
  for (const auto& entry : *entries) {
    broken |= !entry.diagnostics.empty();
    if (json) {
      list.push_back(EntryJson(entry));
      continue;
    }
    fmt::print("{}  {}\n", entry.path, entry.name.empty() ? "(broken)" : entry.name);
    if (!entry.summary.empty()) fmt::print("    {}\n", entry.summary);
    if (!entry.labels.empty()) fmt::print("    labels: {}\n", fmt::join(entry.labels, " "));
    if (!entry.variants.empty()) fmt::print("    variants: {}\n", fmt::join(entry.variants, " "));
    PrintDiagnostics(entry.diagnostics);
  }
  if (json) fmt::print("{}\n", list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  if (!json && entries->empty()) fmt::print("no *.textproto below {}\n", folder);
  return broken ? 2 : 0;
}

int ValidateFiles(const std::vector<std::string>& paths, const std::string& agent) {
  std::optional<scenario::LoadedDefinition> definition;
  if (!agent.empty()) {
    auto loaded = scenario::LoadDefinition(agent);
    if (!loaded.ok()) return Fail(loaded.error());
    definition = *std::move(loaded);
  }
  size_t good = 0;
  bool broken = false;
  const auto count = [&](bool valid) {
    good += valid ? 1 : 0;
    broken |= !valid;
  };
  for (const std::string& path : paths) {
    if (os::IsFolder(path)) {
      const auto entries = scenario::ListScenarios(path);
      if (!entries.ok()) return Fail(entries.error());
      for (const auto& entry : *entries) {
        PrintDiagnostics(entry.diagnostics);
        count(entry.diagnostics.empty() &&
              (!definition || FitsAgent(entry.path, *definition, true)));
      }
      continue;
    }
    const auto outcome = scenario::LoadScenarioFile(path);
    PrintDiagnostics(outcome.diagnostics);
    count(outcome.ok() && (!definition || FitsAgent(path, *definition, false)));
  }
  fmt::print("{} valid\n", good);
  return broken ? 2 : 0;
}

int NewScenario(const std::string& name, const std::string& path) {
  const auto text = scenario::NewScenarioText(name);
  if (!text.ok()) return Fail(text.error());
  const std::string file = path.empty() ? name + ".textproto" : path;
  if (os::Exists(file)) {
    return Fail(UserError(fmt::format("{} is there already; choose another with -o", file)));
  }
  if (const Status free = CheckOutputFile(file); !free.ok()) return Fail(free.error());
  if (const Status written = os::WriteFileAtomic(file, *text); !written.ok()) {
    return Fail(written.error());
  }
  fmt::print("{}\nRun it: ./plugpull run {}\n", file, file);
  return 0;
}

}  // namespace plugpull::cli
