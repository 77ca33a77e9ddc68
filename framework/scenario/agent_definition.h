// SPDX-License-Identifier: Apache-2.0
// An agent that is put in place of those that scenarios start: its definition file, and a scenario
// with it. What is below a plan knows nothing of definitions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
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

// `file` is only used in diagnostics, and in LoadedDefinition.
DefinitionOutcome LoadDefinitionText(std::string_view text, const std::string& file);
// Reads at most kScenarioBytesMax. A user error with every diagnostic.
Result<LoadedDefinition> LoadDefinition(const std::string& path);

// A part of a scenario that is not run with the definition.
struct LeftOut {
  std::string variant;  // empty: the whole scenario
  std::string reason;
  // The definition lacks what the case needs. False: the case is of an agent of the scenario's own.
  bool capability = false;
};

struct AgentScenario {
  // Without the variants that are left out; not worth planning when `nothing_left`.
  Scenario scenario;
  std::vector<LeftOut> left_out;
  bool nothing_left = false;
};

bool HasAgents(const Scenario& scenario);

// "[Driver: NAME] [Testpattern: ...] ...", at most 200 bytes: the case that a scenario is for an
// agent of that name.
std::string CaseSummary(const Scenario& scenario, const std::string& driver);

// Puts the definition in place of the agents of a valid scenario. `scenario_path` is where the
// scenario was read: files of guests are relative to it. The agent is expected to keep every
// property; what else the scenario expects stays. Waits for the end of an agent that goes on are
// dropped. A user error when it starts no agent, or when a file of the definition has the name of
// another file of the scenario.
Result<AgentScenario> ApplyAgent(const Scenario& scenario, const std::string& scenario_path,
                                 const LoadedDefinition& definition);

}  // namespace plugpull::scenario
