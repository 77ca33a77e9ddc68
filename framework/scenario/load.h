// SPDX-License-Identifier: Apache-2.0
// From the text of a scenario to a message that keeps every rule of the language, or to all that
// is wrong with it, in one go.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "framework/proto/scenario.pb.h"
#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

inline constexpr Bytes kScenarioBytesMax = Bytes(1 << 20);

struct LoadedScenario {
  // As written: defaults are not filled in, variants not applied. Steps know their lines.
  Scenario scenario;
  SourceNode source;  // where its fields are written
  std::string file;   // as given
};

// Holds a scenario exactly when there are no diagnostics.
struct LoadOutcome {
  std::optional<LoadedScenario> loaded;
  std::vector<Diagnostic> diagnostics;  // in the order of the text
  bool ok() const { return loaded.has_value(); }
};

// `file` is only used in diagnostics. Mistakes in the syntax that leave the rest in doubt (a lost
// brace) end the list; everything else is reported together.
LoadOutcome LoadScenarioText(std::string_view text, const std::string& file);

// Reads at most kScenarioBytesMax.
LoadOutcome LoadScenarioFile(const std::string& path);

// What LoadScenarioText does before the rules of the language are applied: `text` into `message`,
// and where its fields are. False when there is no telling what the rest says; `reporter` then has
// a diagnostic. `what` is "scenario" or "definition".
bool ParseText(std::string_view text, const char* what, google::protobuf::Message& message,
               SourceNode& source, Reporter& reporter);

// The text of a file of at most kScenarioBytesMax; the message says what it should have been.
Result<std::string> ReadTextFile(const std::string& path, const char* what);

// LoadScenarioFile for callers that only pass errors on: a user error with every diagnostic.
Result<LoadedScenario> LoadScenario(const std::string& path);

}  // namespace plugpull::scenario
