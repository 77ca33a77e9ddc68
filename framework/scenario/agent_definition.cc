// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/agent_definition.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/os/file.h"
#include "framework/scenario/load.h"
#include "framework/scenario/read_message.h"
#include "framework/scenario/rules.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

constexpr const char* kPlaceholders[] = {"{serial}", "{disk}", "{target}", "{options}"};

void CheckDefinition(const AgentDefinition& definition, const SourceNode& source,
                     Reporter& reporter) {
  const auto check = [&](const auto& words, int field) {
    for (int i = 0; i < words.size(); ++i) {
      for (const char* placeholder : kPlaceholders) {
        if (words.Get(i).find(placeholder) == std::string::npos) continue;
        reporter.Add(source.Locate(field, i),
                     fmt::format("{} belongs to one volume; write this argument as volume_argument",
                                 placeholder));
      }
    }
    if (words.size() > 0 && words.Get(0).empty()) {
      reporter.Add(source.Locate(field),
                   "the first argument is empty; the name or the path of a program is expected");
    }
  };
  check(definition.argv(), AgentDefinition::kArgvFieldNumber);
  check(definition.unmount_argv(), AgentDefinition::kUnmountArgvFieldNumber);
  if (!definition.has_csi()) {
    if (definition.lacks_size() > 0) {
      reporter.Add(source.Locate(AgentDefinition::kLacksFieldNumber),
                   "lacks is for CSI node plugins, and there is no csi");
    }
    return;
  }
  if (definition.unmount_argv_size() > 0) {
    reporter.Add(source.Locate(AgentDefinition::kUnmountArgvFieldNumber),
                 "a CSI node plugin unmounts when it is called; leave unmount_argv out");
  }
  if (definition.own_mount_namespace()) {
    reporter.Add(
        source.Locate(AgentDefinition::kOwnMountNamespaceFieldNumber),
        "what a CSI node plugin mounts must be seen by the kubelet: it cannot have a mount "
        "namespace of its own");
  }
  for (int i = 0; i < definition.lacks_size(); ++i) {
    if (definition.lacks(i) != AgentDefinition::FEATURE_UNSPECIFIED) continue;
    reporter.Add(source.Locate(AgentDefinition::kLacksFieldNumber, i),
                 "RAW_BLOCK, EXPAND or STATS is expected");
  }
}

void ReplaceAll(const std::string& what, const std::string& by, std::string& text) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

bool Lacks(const AgentDefinition& definition, AgentDefinition::Feature feature) {
  return std::find(definition.lacks().begin(), definition.lacks().end(), feature) !=
         definition.lacks().end();
}

bool Configures(const Settings& settings) {
  return settings.agent_argument_size() > 0 || settings.agent_environment_size() > 0;
}

// The agents of a scenario in the order of their start, by their new names.
std::map<std::string, std::string> NewNames(const std::string& name, const Scenario& scenario) {
  std::map<std::string, std::string> names;
  for (const Step& step : scenario.step()) {
    if (!step.has_agent() || names.contains(step.agent().name())) continue;
    names[step.agent().name()] =
        names.empty() ? name : fmt::format("{}-{}", name, names.size() + 1);
  }
  return names;
}

// Why the agent cannot do what the scenario wants of it; empty when it can.
std::string WhyNot(const AgentDefinition& definition, const Scenario& scenario) {
  const auto names = NewNames(definition.name(), scenario);
  if (names.empty()) return "it has no agent";
  if (definition.has_csi() && names.size() > 1) {
    return "it starts two agents, and two node plugins cannot have one endpoint";
  }
  for (const Step& step : scenario.step()) {
    if (step.has_csi()) {
      if (step.csi().expand() && Lacks(definition, AgentDefinition::EXPAND)) {
        return "the plugin lacks EXPAND";
      }
      if (step.csi().stats() && Lacks(definition, AgentDefinition::STATS)) {
        return "the plugin lacks STATS";
      }
    }
    if (!step.has_agent()) continue;
    if (step.agent().has_csi() && !definition.has_csi()) return "it is for CSI node plugins";
    if (step.agent().csi().raw_block() && Lacks(definition, AgentDefinition::RAW_BLOCK)) {
      return "the plugin lacks RAW_BLOCK";
    }
    if (step.agent().task() == AgentStep::UNMOUNT && definition.unmount_argv_size() == 0) {
      return "the agent is to unmount and end, and the definition has no unmount_argv";
    }
  }
  for (const Axis& axis : scenario.axis()) {
    for (const AxisValue& value : axis.value()) {
      if (Configures(value.settings())) return "its axes configure an agent of its own";
    }
  }
  return {};
}

void ReplaceStep(const AgentDefinition& definition, const Scenario& scenario, AgentStep& step) {
  const bool unmounts = step.task() == AgentStep::UNMOUNT;
  *step.mutable_argv() = unmounts ? definition.unmount_argv() : definition.argv();
  for (const AgentVolume& volume : step.volume()) {
    std::string serial = volume.disk();
    for (const Disk& disk : scenario.disk()) {
      if (disk.name() == volume.disk() && disk.has_serial()) serial = disk.serial();
    }
    for (std::string argument : definition.volume_argument()) {
      ReplaceAll("{serial}", serial, argument);
      ReplaceAll("{disk}", volume.disk(), argument);
      ReplaceAll("{target}", volume.at(), argument);
      ReplaceAll("{options}", fmt::format("{}", fmt::join(volume.option(), ",")), argument);
      step.add_argv(argument);
    }
  }
  step.mutable_environment()->MergeFrom(definition.environment());
  if (definition.has_own_mount_namespace()) {
    step.set_own_mount_namespace(definition.own_mount_namespace());
  }
  if (definition.has_restart()) *step.mutable_restart() = definition.restart();
  step.set_alert_pattern(definition.alert_pattern());
  if (!definition.has_csi()) return;
  step.clear_own_mount_namespace();
  CsiNode csi = definition.csi();
  CsiNode wanted = step.csi();
  wanted.clear_endpoint();
  wanted.clear_fs_type();
  wanted.clear_publish_context();
  wanted.clear_volume_context();
  csi.MergeFrom(wanted);
  *step.mutable_csi() = csi;
}

void NameDriver(const std::string& name, std::string* summary) {
  constexpr std::string_view kDriver = "[Driver: ";
  const size_t at = summary->find(kDriver);
  const size_t end = at == std::string::npos ? at : summary->find(']', at);
  if (end == std::string::npos) return;
  summary->replace(at + kDriver.size(), end - at - kDriver.size(), name);
}

Status AddFiles(const LoadedDefinition& agent, const std::string& scenario_file, Guest& guest) {
  namespace fs = std::filesystem;
  const fs::path from = fs::absolute(agent.file).parent_path();
  const fs::path to = fs::absolute(scenario_file).parent_path();
  for (const std::string& file : agent.definition.file()) {
    const fs::path path(file);
    for (const std::string& other : guest.file()) {
      if (fs::path(other).filename() != path.filename()) continue;
      return UserError(
          fmt::format("{}: file {}: the scenario {} brings a file of this name, too; "
                      "give it another name",
                      agent.file, Quoted(file), scenario_file));
    }
    guest.add_file(path.is_absolute()
                       ? file
                       : (from / path).lexically_normal().lexically_relative(to).string());
  }
  return OkStatus();
}

}  // namespace

DefinitionOutcome LoadAgentDefinitionText(std::string_view text, const std::string& file) {
  Reporter reporter(file);
  LoadedDefinition loaded;
  loaded.file = file;
  SourceNode source;
  if (ReadMessage(text, "definition", loaded.definition, source, reporter)) {
    CheckRules(loaded.definition, source, reporter);
    CheckDefinition(loaded.definition, source, reporter);
  }
  if (!reporter.empty()) return {std::nullopt, reporter.Take()};
  return {std::move(loaded), {}};
}

DefinitionOutcome LoadAgentDefinitionFile(const std::string& path) {
  const auto text = os::ReadFile(path, kScenarioBytesMax);
  if (!text.ok()) return {std::nullopt, {{path, {}, text.error().message}}};
  return LoadAgentDefinitionText(*text, path);
}

Result<AgentReplaced> ReplaceAgents(const LoadedDefinition& agent, const std::string& scenario_file,
                                    Scenario& scenario) {
  const AgentDefinition& definition = agent.definition;
  AgentReplaced replaced;
  replaced.left_out = WhyNot(definition, scenario);
  if (!replaced.left_out.empty()) return replaced;
  auto* variants = scenario.mutable_variant();
  for (int i = variants->size() - 1; i >= 0; --i) {
    if (!Configures(variants->Get(i).settings())) continue;
    replaced.variants_left_out.insert(replaced.variants_left_out.begin(), variants->Get(i).name());
    variants->DeleteSubrange(i, 1);
  }
  if (variants->empty() && !replaced.variants_left_out.empty()) {
    replaced.left_out = "all its variants configure agents of its own";
    return replaced;
  }
  const auto names = NewNames(definition.name(), scenario);
  const auto rename = [&names](std::string* name) {
    if (const auto found = names.find(*name); found != names.end()) *name = found->second;
  };
  for (Step& step : *scenario.mutable_step()) {
    if (step.has_agent()) {
      ReplaceStep(definition, scenario, *step.mutable_agent());
      rename(step.mutable_agent()->mutable_name());
    } else if (step.has_agent_wait() && step.agent_wait().has_name()) {
      rename(step.mutable_agent_wait()->mutable_name());
    } else if (step.has_agent_stop()) {
      rename(step.mutable_agent_stop()->mutable_name());
    } else if (step.has_csi()) {
      rename(step.mutable_csi()->mutable_agent());
    }
  }
  if (scenario.has_summary()) NameDriver(definition.name(), scenario.mutable_summary());
  for (Variant& variant : *variants) {
    if (variant.has_summary()) NameDriver(definition.name(), variant.mutable_summary());
  }
  Guest& guest = *scenario.mutable_guest();
  for (const std::string& program : definition.program()) {
    if (std::find(guest.program().begin(), guest.program().end(), program) ==
        guest.program().end()) {
      guest.add_program(program);
    }
  }
  PP_RETURN_IF_ERROR(AddFiles(agent, scenario_file, guest));
  if (definition.has_contract()) *scenario.mutable_contract() = definition.contract();
  scenario.set_agent_definition(agent.file);
  return replaced;
}

}  // namespace plugpull::scenario
