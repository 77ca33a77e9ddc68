// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/catalog.h"

#include <fmt/format.h>

#include <map>

#include "framework/os/file.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

class Finder {
 public:
  Status Walk(const std::string& folder, int depth) {
    if (depth > kFolderDepthMax) {
      return UserError(
          fmt::format("{} is more than {} folders deep; name a folder further down, "
                      "or the scenarios themselves",
                      folder, kFolderDepthMax));
    }
    PP_ASSIGN_OR_RETURN(const std::vector<std::string> names, os::ListFolder(folder));
    for (const std::string& name : names) {
      if (name.starts_with(".")) continue;
      if (++seen_ > kCatalogFilesMax) {
        return UserError(
            fmt::format("more than {} files are below the folder; name a folder "
                        "further down, or the scenarios themselves",
                        kCatalogFilesMax));
      }
      const std::string path =
          fmt::format("{}{}{}", folder, folder.ends_with('/') ? "" : "/", name);
      if (os::IsFolder(path)) {
        PP_RETURN_IF_ERROR(Walk(path, depth + 1));
      } else if (name.ends_with(".textproto")) {
        found_.push_back(path);
      }
    }
    return OkStatus();
  }

  const std::vector<std::string>& found() const { return found_; }

 private:
  std::vector<std::string> found_;
  size_t seen_ = 0;
};

CatalogEntry Describe(const std::string& path) {
  CatalogEntry entry;
  entry.path = path;
  LoadOutcome outcome = LoadScenarioFile(path);
  if (!outcome.ok()) {
    entry.diagnostics = std::move(outcome.diagnostics);
    return entry;
  }
  const Scenario& scenario = outcome.loaded->scenario;
  entry.name = scenario.name();
  entry.summary = scenario.summary();
  entry.labels.assign(scenario.label().begin(), scenario.label().end());
  const Result<std::vector<Plan>> plans = ExpandPlans(scenario);
  PP_CHECK(plans.ok());  // what loads is valid, and what is valid expands
  for (const Plan& plan : *plans) {
    if (!plan.variant().empty()) entry.variants.push_back(plan.variant());
  }
  return entry;
}

}  // namespace

Result<std::vector<CatalogEntry>> ListScenarios(const std::string& folder) {
  if (!os::IsFolder(folder)) {
    return UserError(fmt::format("{} is not a folder; name the folder that holds the scenarios",
                                 Quoted(folder)));
  }
  Finder finder;
  PP_RETURN_IF_ERROR(finder.Walk(folder, 0));
  std::vector<CatalogEntry> entries;
  std::map<std::string, std::string> paths;  // by name
  for (const std::string& path : finder.found()) {
    CatalogEntry entry = Describe(path);
    if (!entry.name.empty()) {
      const auto [it, added] = paths.emplace(entry.name, path);
      if (!added) {
        entry.diagnostics.push_back(
            {path,
             {},
             fmt::format("the name {} is taken by {}; every scenario needs another",
                         Quoted(entry.name), it->second)});
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace plugpull::scenario
