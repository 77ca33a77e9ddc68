// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/agent_definition.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "framework/scenario/load.h"
#include "framework/scenario/rules.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

using Texts = google::protobuf::RepeatedPtrField<std::string>;

constexpr char kVolumes[] = "{volumes}";
constexpr char kOption[] = "{option}";

struct Check {
  const AgentDefinition& definition;
  const SourceNode& source;
  Reporter& reporter;

  // `per_volume`: in volume_argv, where {option} is known.
  void Placeholders(const Texts& words, const SourceNode& node, int field, bool per_volume) const {
    static const RE2 kBraces("(\\{[a-z_]+\\})");
    std::vector<std::string> known = {"{serial}", "{disk}", "{target}", "{device}", "{options}"};
    if (per_volume) known.emplace_back(kOption);
    for (int i = 0; i < words.size(); ++i) {
      if (!per_volume && words.Get(i) == kVolumes) continue;
      re2::StringPiece rest(words.Get(i));
      std::string found;
      while (RE2::FindAndConsume(&rest, kBraces, &found)) {
        if (std::ranges::count(known, found) > 0) continue;
        reporter.Add(
            node.Locate(field, i),
            fmt::format("{} stands for nothing here; known are {}{}{}", found, ListNames(known),
                        per_volume ? "" : ", and {volumes} as an argument of argv by itself",
                        DidYouMean(found, known)));
      }
    }
  }

  void Argv(const Texts& argv, const SourceNode& node, int field) const {
    if (argv.size() > 0 && argv.Get(0).empty()) {
      reporter.Add(node.Locate(field),
                   "the first argv is empty; the name or the path of a program is expected");
    }
    Placeholders(argv, node, field, false);
  }

  void Guest() const {
    for (int i = 0; i < definition.program_size(); ++i) {
      const std::string& program = definition.program(i);
      if (!program.empty() && (program[0] == '/' || program.find('/') == std::string::npos)) {
        continue;
      }
      reporter.Add(source.Locate(AgentDefinition::kProgramFieldNumber, i),
                   fmt::format("program is {}; a name on PATH or an absolute path is expected",
                               Quoted(program)));
    }
    UniqueNames files("file in /scenario", reporter);
    for (int i = 0; i < definition.file_size(); ++i) {
      const std::string& file = definition.file(i);
      const SourceLocation& at = source.Locate(AgentDefinition::kFileFieldNumber, i);
      const std::string name = file.substr(file.rfind('/') + 1);  // npos + 1 is 0
      if (name.empty() || name == "." || name == "..") {
        reporter.Add(at, fmt::format("file is {}; the path of a file is expected", Quoted(file)));
      } else {
        files.Add(name, at);
      }
    }
  }

  void Arguments() const {
    Argv(definition.argv(), source, AgentDefinition::kArgvFieldNumber);
    Placeholders(definition.volume_argv(), source, AgentDefinition::kVolumeArgvFieldNumber, true);
    Placeholders(definition.environment(), source, AgentDefinition::kEnvironmentFieldNumber, false);
    bool used = std::ranges::count(definition.argv(), kVolumes) > 0;
    UniqueNames actions("action", reporter);
    for (int i = 0; i < definition.action_size(); ++i) {
      const SourceNode& node = Sub(source, AgentDefinition::kActionFieldNumber, i);
      Argv(definition.action(i).argv(), node, AgentAction::kArgvFieldNumber);
      actions.Add(definition.action(i).name(), node.Locate(AgentAction::kNameFieldNumber));
      used |= std::ranges::count(definition.action(i).argv(), kVolumes) > 0;
    }
    if (used == (definition.volume_argv_size() > 0)) return;
    if (source.AnyBroken(AgentDefinition::kArgvFieldNumber) ||
        source.AnyBroken(AgentDefinition::kActionFieldNumber) ||
        source.AnyBroken(AgentDefinition::kVolumeArgvFieldNumber)) {
      return;
    }
    reporter.Add(source.Locate(used ? AgentDefinition::kArgvFieldNumber
                                    : AgentDefinition::kVolumeArgvFieldNumber),
                 used ? "{volumes} is in argv, and there is no volume_argv that it could stand for"
                      : "volume_argv is used nowhere; write {volumes} as an argument of argv where "
                        "it belongs");
  }

  void Csi() const {
    if (!definition.has_csi()) {
      if (definition.capability_size() > 0) {
        reporter.Add(source.Locate(AgentDefinition::kCapabilityFieldNumber),
                     "capabilities are those of a CSI node plugin, and there is no csi; add `csi { "
                     "endpoint: \"unix:///...\" }`");
      }
      return;
    }
    const SourceNode& node = Sub(source, AgentDefinition::kCsiFieldNumber);
    if (definition.own_mount_namespace()) {
      reporter.Add(source.Locate(AgentDefinition::kOwnMountNamespaceFieldNumber),
                   "what a CSI node plugin mounts must be seen by the kubelet: it cannot have a "
                   "mount namespace of its own");
    }
    const auto of_scenario = [&](bool set, int field, const char* name) {
      if (!set) return;
      reporter.Add(node.Locate(field),
                   fmt::format("{} is for scenarios to say; leave it out", name));
    };
    of_scenario(definition.csi().has_wait_for_step(), CsiNode::kWaitForStepFieldNumber,
                "wait_for_step");
    of_scenario(definition.csi().has_raw_block(), CsiNode::kRawBlockFieldNumber, "raw_block");
    std::set<int> seen;
    for (int i = 0; i < definition.capability_size(); ++i) {
      const auto one = definition.capability(i);
      const SourceLocation& at = source.Locate(AgentDefinition::kCapabilityFieldNumber, i);
      if (one == AgentDefinition::CAPABILITY_UNSPECIFIED) {
        reporter.Add(at,
                     "capability is CAPABILITY_UNSPECIFIED; allowed are RAW_BLOCK, EXPAND, STATS, "
                     "VOLUME_CONDITION");
      } else if (!seen.insert(one).second) {
        reporter.Add(at, fmt::format("capability {} is listed twice",
                                     AgentDefinition::Capability_Name(one)));
      }
    }
  }
};

}  // namespace

DefinitionOutcome LoadDefinitionText(std::string_view text, const std::string& file) {
  Reporter reporter(file);
  LoadedDefinition loaded;
  loaded.file = file;
  SourceNode source;
  if (ParseText(text, "definition", loaded.definition, source, reporter)) {
    CheckRules(loaded.definition, source, reporter);
    const Check check{loaded.definition, source, reporter};
    check.Guest();
    check.Arguments();
    check.Csi();
  }
  if (!reporter.empty()) return {std::nullopt, reporter.Take()};
  return {std::move(loaded), {}};
}

Result<LoadedDefinition> LoadDefinition(const std::string& path) {
  const Result<std::string> text = ReadTextFile(path, "definition");
  if (!text.ok()) return UserError(fmt::format("--agent {}: {}", path, text.error().message));
  DefinitionOutcome outcome = LoadDefinitionText(*text, path);
  if (!outcome.loaded) return ToError(outcome.diagnostics);
  return *std::move(outcome.loaded);
}

}  // namespace plugpull::scenario
