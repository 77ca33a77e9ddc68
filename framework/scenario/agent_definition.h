// SPDX-License-Identifier: Apache-2.0
// An agent of the user's in place of those of a scenario (`plugpull run --agent FILE`).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/agent_definition.pb.h"
#include "framework/proto/scenario.pb.h"
#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

struct LoadedDefinition {
  AgentDefinition definition;
  std::string file;  // as given
};

// Holds a definition exactly when there are no diagnostics.
struct DefinitionOutcome {
  std::optional<LoadedDefinition> loaded;
  std::vector<Diagnostic> diagnostics;  // in the order of the text
};

// `file` is only used in diagnostics and for what is relative to it.
DefinitionOutcome LoadAgentDefinitionText(std::string_view text, const std::string& file);
// Reads at most kScenarioBytesMax.
DefinitionOutcome LoadAgentDefinitionFile(const std::string& path);

struct AgentReplaced {
  std::string left_out;  // why the scenario cannot be run with this agent; empty: it can
  // Variants that only configure the scenario's own agents, and are gone.
  std::vector<std::string> variants_left_out;
};

// Every agent step starts the agent of the definition, under its name (a second one under NAME-2),
// and "[Driver: ...]" in summaries names it. Volumes, waits, faults and what is expected stay.
// `scenario_file`: where the scenario comes from, since its files are relative to that. A scenario
// that is left out is not to be used any more. A user error when both bring a file of one name.
Result<AgentReplaced> ReplaceAgents(const LoadedDefinition& agent, const std::string& scenario_file,
                                    Scenario& scenario);

}  // namespace plugpull::scenario
