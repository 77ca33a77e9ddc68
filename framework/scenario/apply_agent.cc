// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/scenario/agent_definition.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

using Texts = google::protobuf::RepeatedPtrField<std::string>;

constexpr char kAction[] = "PLUGPULL_ACTION";
constexpr size_t kSummaryBytesMax = 200;
constexpr size_t kArgumentsMax = 256;  // of AgentStep.argv

std::string Replaced(std::string text, std::string_view from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The path of a disk as the guest starts: virtio disks are named in the order in which they are
// plugged in, each block log behind its disk (GuestSession::Start); layers are dm devices.
std::string DeviceOf(const Scenario& scenario, const std::string& name) {
  char letter = 'a';
  for (const Disk& disk : scenario.disk()) {
    const bool log = std::any_of(disk.layer().begin(), disk.layer().end(),
                                 [](const Layer& layer) { return layer.has_log_writes(); });
    if (disk.name() == name) {
      return disk.layer().empty() ? fmt::format("/dev/vd{}", letter)
                                  : fmt::format("/dev/mapper/pp-{}-fs", name);
    }
    letter = static_cast<char>(letter + (log ? 2 : 1));
  }
  return {};
}

std::string Filled(std::string word, const Scenario& scenario, const AgentVolume& volume) {
  std::string serial = volume.disk();
  for (const Disk& disk : scenario.disk()) {
    if (disk.name() == volume.disk() && disk.has_serial()) serial = disk.serial();
  }
  const std::string options =
      volume.option().empty() ? "defaults" : fmt::format("{}", fmt::join(volume.option(), ","));
  word = Replaced(std::move(word), "{serial}", serial);
  word = Replaced(std::move(word), "{disk}", volume.disk());
  word = Replaced(std::move(word), "{target}", volume.at());
  word = Replaced(std::move(word), "{device}", DeviceOf(scenario, volume.disk()));
  return Replaced(std::move(word), "{options}", options);
}

void AddVolume(const Texts& words, const Scenario& scenario, const AgentVolume& volume,
               Texts& argv) {
  for (const std::string& word : words) {
    if (word.find("{option}") == std::string::npos) {
      argv.Add(Filled(word, scenario, volume));
      continue;
    }
    for (const std::string& option : volume.option()) {
      argv.Add(Filled(Replaced(word, "{option}", option), scenario, volume));
    }
  }
}

std::string NameOf(const std::string& variable) { return variable.substr(0, variable.find('=')); }

std::string ActionOf(const AgentStep& step) {
  for (const std::string& variable : step.environment()) {
    if (NameOf(variable) == kAction) return variable.substr(variable.find('=') + 1);
  }
  return {};
}

const AgentAction* FindAction(const AgentDefinition& definition, const std::string& name) {
  for (const AgentAction& action : definition.action()) {
    if (action.name() == name) return &action;
  }
  return nullptr;
}

// What the scenario needs and the definition does not have, in words; empty: nothing.
std::string Lacks(const AgentDefinition& definition, const Scenario& scenario) {
  const auto has = [&](AgentDefinition::Capability one) {
    return std::ranges::count(definition.capability(), one) > 0;
  };
  const auto missing = [&](const char* what) {
    return fmt::format("{} does not list capability {}", definition.name(), what);
  };
  for (const Step& step : scenario.step()) {
    if (step.has_agent()) {
      const AgentStep& agent = step.agent();
      const std::string action = ActionOf(agent);
      if (agent.has_csi() && !definition.has_csi()) {
        return definition.name() + " is no CSI node plugin";
      }
      if (!action.empty() && FindAction(definition, action) == nullptr) {
        return fmt::format("{} has no action {}", definition.name(), Quoted(action));
      }
      if (static_cast<uint32_t>(agent.volume_size()) > definition.volumes_max()) {
        return fmt::format("it needs {} volumes at a time, and {} takes {}", agent.volume_size(),
                           definition.name(), definition.volumes_max());
      }
      if (agent.volume().empty()) return "its agent is not told which volumes it has";
      if (agent.csi().raw_block() && !has(AgentDefinition::RAW_BLOCK)) return missing("RAW_BLOCK");
    }
    if (step.has_csi()) {
      if (step.csi().expand() && !has(AgentDefinition::EXPAND)) return missing("EXPAND");
      if (step.csi().stats() && !has(AgentDefinition::STATS)) return missing("STATS");
      if (step.csi().expect_code() == "ABNORMAL" && !has(AgentDefinition::VOLUME_CONDITION)) {
        return missing("VOLUME_CONDITION");
      }
    }
  }
  return {};
}

bool IsForOwnAgent(const Settings& settings) {
  return settings.agent_argument_size() > 0 || settings.agent_environment_size() > 0;
}

void DropProperties(Expect& expect) {
  const auto found = expect.found();
  expect.clear_found();
  for (const int one : found) {
    const auto kind = static_cast<FindingClass>(one);
    if (!IsAgentProperty(kind)) expect.add_found(kind);
  }
}

// Drops the variants and the values of axes that only the scenario's own agents have.
void DropOwnAgents(AgentScenario& result) {
  constexpr char kOwn[] = "it is about an agent of the scenario's own";
  Scenario& scenario = result.scenario;
  const auto variants = scenario.variant();
  scenario.clear_variant();
  for (const Variant& variant : variants) {
    if (IsForOwnAgent(variant.settings())) {
      result.left_out.push_back({variant.name(), kOwn, false});
      continue;
    }
    Variant& kept = *scenario.add_variant();
    kept = variant;
    if (kept.has_expect()) DropProperties(*kept.mutable_expect());
  }
  result.nothing_left = variants.size() > 0 && scenario.variant().empty();
  std::vector<std::string> gone;  // "axis=value"
  for (Axis& axis : *scenario.mutable_axis()) {
    const auto values = axis.value();
    axis.clear_value();
    for (const AxisValue& value : values) {
      if (IsForOwnAgent(value.settings())) {
        gone.push_back(axis.name() + "=" + value.name());
        result.left_out.push_back({gone.back(), kOwn, false});
        continue;
      }
      AxisValue& kept = *axis.add_value();
      kept = value;
      if (kept.has_expect()) DropProperties(*kept.mutable_expect());
    }
    result.nothing_left |= axis.value().empty();
  }
  const auto cells = scenario.cell();
  scenario.clear_cell();
  for (const Cell& cell : cells) {
    if (std::any_of(cell.at().begin(), cell.at().end(),
                    [&](const std::string& at) { return std::ranges::count(gone, at) > 0; })) {
      continue;
    }
    *scenario.add_cell() = cell;
    DropProperties(*scenario.mutable_cell(scenario.cell_size() - 1)->mutable_expect());
  }
}

void Replace(const AgentDefinition& definition, const Scenario& scenario, AgentStep& step) {
  const AgentAction* action = FindAction(definition, ActionOf(step));
  const AgentVolume& first = step.volume(0);
  const Texts& words = action == nullptr ? definition.argv() : action->argv();
  step.clear_argv();
  for (const std::string& word : words) {
    if (word != "{volumes}") {
      step.add_argv(Filled(word, scenario, first));
      continue;
    }
    for (const AgentVolume& volume : step.volume()) {
      AddVolume(definition.volume_argv(), scenario, volume, *step.mutable_argv());
    }
  }
  const auto before = step.environment();
  step.clear_environment();
  for (const std::string& variable : before) {
    const auto same = [&](const std::string& own) { return NameOf(own) == NameOf(variable); };
    if (std::none_of(definition.environment().begin(), definition.environment().end(), same)) {
      step.add_environment(variable);
    }
  }
  for (const std::string& variable : definition.environment()) {
    step.add_environment(Filled(variable, scenario, first));
  }
  step.set_own_mount_namespace(definition.own_mount_namespace());
  if (definition.has_restart()) *step.mutable_restart() = definition.restart();
  if (definition.has_alert_pattern()) step.set_alert_pattern(definition.alert_pattern());
  if (!definition.has_csi()) return;
  const CsiNode asked = step.csi();
  *step.mutable_csi() = definition.csi();
  step.mutable_csi()->set_wait_for_step(asked.wait_for_step());
  step.mutable_csi()->set_raw_block(asked.raw_block());
}

// Drops waits for the end of an agent that is to keep volumes mounted: it goes on, and the time
// that it is watched for is in other steps. An action ends.
void DropEndlessWaits(Scenario& scenario) {
  std::map<std::string, bool> ends;  // by agent
  const auto steps = scenario.step();
  scenario.clear_step();
  for (const Step& step : steps) {
    if (step.has_agent()) ends[step.agent().name()] = !ActionOf(step.agent()).empty();
    const AgentWaitStep& wait = step.agent_wait();
    if (!wait.until_exit() || ends[wait.name()]) *scenario.add_step() = step;
  }
}

// Files are relative to the scenario, and those of the definition to the definition.
Status AddToGuest(const LoadedDefinition& loaded, const std::string& scenario_path, Guest& guest) {
  namespace fs = std::filesystem;
  for (const std::string& program : loaded.definition.program()) {
    if (std::ranges::count(guest.program(), program) == 0) guest.add_program(program);
  }
  std::error_code ignored;
  const fs::path from = fs::absolute(scenario_path, ignored).parent_path().lexically_normal();
  for (const std::string& file : loaded.definition.file()) {
    const fs::path path =
        fs::absolute(fs::path(loaded.file).parent_path() / file, ignored).lexically_normal();
    const auto same_name = std::find_if(
        guest.file().begin(), guest.file().end(),
        [&](const std::string& other) { return fs::path(other).filename() == path.filename(); });
    if (same_name == guest.file().end()) {
      // As it was written where it can be: recordings name no folders of this machine.
      guest.add_file(fs::path(file).is_absolute() ? file : path.lexically_relative(from).string());
      continue;
    }
    if ((from / *same_name).lexically_normal() == path) continue;
    return UserError(fmt::format(
        "{}: file {} would be /scenario/{} in the guest, and so is a file of {}; give it another "
        "name",
        loaded.file, Quoted(file), path.filename().string(), scenario_path));
  }
  return OkStatus();
}

}  // namespace

bool HasAgents(const Scenario& scenario) {
  return std::any_of(scenario.step().begin(), scenario.step().end(),
                     [](const Step& step) { return step.has_agent(); });
}

std::string CaseSummary(const Scenario& scenario, const std::string& driver) {
  const std::string& was = scenario.summary();
  std::string summary = fmt::format("[Driver: {}] ", driver);
  const size_t end = was.find("] ");
  if (was.starts_with("[Driver: ") && end != std::string::npos) {
    summary += was.substr(end + 2);
  } else {
    summary += fmt::format("[Testpattern: {}] {}", scenario.name(), was);
  }
  if (summary.size() <= kSummaryBytesMax) return summary;
  // Not in the middle of a character of UTF-8.
  size_t cut = kSummaryBytesMax;
  while (cut > 0 && (static_cast<unsigned char>(summary[cut]) & 0xc0) == 0x80) --cut;
  return summary.substr(0, cut);
}

Result<AgentScenario> ApplyAgent(const Scenario& scenario, const std::string& scenario_path,
                                 const LoadedDefinition& loaded) {
  const AgentDefinition& definition = loaded.definition;
  if (!HasAgents(scenario)) {
    return UserError(
        fmt::format("{} starts no agent, so --agent {} has nothing to stand for; leave --agent "
                    "out, or name scenarios with agent steps, such as those of scenarios/agent",
                    scenario_path, loaded.file));
  }
  AgentScenario result;
  result.scenario = scenario;
  Scenario& with = result.scenario;
  with.set_summary(CaseSummary(scenario, definition.name()));
  DropOwnAgents(result);
  if (with.has_expect()) DropProperties(*with.mutable_expect());
  if (result.nothing_left) {
    result.left_out.assign(1, {"", "all of it is about agents of the scenario's own", false});
    return result;
  }
  if (const std::string lacks = Lacks(definition, scenario); !lacks.empty()) {
    result.left_out.assign(1, {"", lacks, true});
    result.nothing_left = true;
    return result;
  }
  PP_RETURN_IF_ERROR(AddToGuest(loaded, scenario_path, *with.mutable_guest()));
  DropEndlessWaits(with);
  for (Step& step : *with.mutable_step()) {
    if (!step.has_agent()) continue;
    Replace(definition, scenario, *step.mutable_agent());
    if (step.agent().argv_size() > static_cast<int>(kArgumentsMax)) {
      return UserError(fmt::format("{}: with the volumes of {}, argv has {} arguments; at most {}",
                                   loaded.file, scenario_path, step.agent().argv_size(),
                                   kArgumentsMax));
    }
  }
  if (definition.has_contract()) {
    with.mutable_contract()->MergeFrom(definition.contract());
    for (Variant& variant : *with.mutable_variant()) {
      if (!variant.settings().has_contract()) continue;
      variant.mutable_settings()->mutable_contract()->MergeFrom(definition.contract());
    }
  }
  return result;
}

}  // namespace plugpull::scenario
