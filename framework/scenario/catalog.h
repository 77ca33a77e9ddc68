// SPDX-License-Identifier: Apache-2.0
// Which scenarios a folder has, and a new one to start from.
#pragma once

#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

inline constexpr int kFolderDepthMax = 8;          // folders in folders
inline constexpr size_t kCatalogFilesMax = 10000;  // names looked at, of every kind

struct CatalogEntry {
  std::string path;  // the folder as given, and the way from there
  std::string name;  // empty when the scenario could not be loaded
  std::string summary;
  std::vector<std::string> labels;
  std::vector<std::string> variants;    // as in Plan::variant(); empty when there is one plan only
  std::vector<Diagnostic> diagnostics;  // what is wrong with it; empty: it can be run
};

// Every *.textproto below a folder, sorted by path, broken ones with their diagnostics. Names that
// start with a dot are passed over. A name that an entry before has already is a mistake of the
// later one. A user error when the folder cannot be read or has more than the limits allow.
Result<std::vector<CatalogEntry>> ListScenarios(const std::string& folder);

// What `plugpull new` writes: a scenario that is valid, runs, and explains itself. A user error
// when the name is not one that a scenario can have.
Result<std::string> NewScenarioText(const std::string& name);

}  // namespace plugpull::scenario
