// SPDX-License-Identifier: Apache-2.0
// Variants, axes and cells.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "framework/scenario/validate.h"
#include "framework/scenario/validation.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

// The settings of a variant or of an axis value, with their place.
struct PlacedSettings {
  const Settings* settings;
  const SourceNode* source;
  std::vector<PlacedOption> mount_options;
};

bool AnyStep(const Scenario& scenario, const std::function<bool(const Step&)>& is) {
  return std::any_of(scenario.step().begin(), scenario.step().end(), is);
}

PlacedSettings CheckSettings(const Validation& v, const Settings& settings,
                             const SourceNode& source) {
  const bool steps_known = !v.source.AnyBroken(Scenario::kStepFieldNumber);
  PlacedSettings placed{&settings, &source,
                        PlaceMountOptions(settings.mount_option(), source,
                                          Settings::kMountOptionFieldNumber, v.reporter)};
  // A mount that must fail may well be given what cannot work.
  const bool refused = settings.has_mount_errno();
  if (refused) {
    CheckErrno("mount_errno", settings.mount_errno(),
               source.Locate(Settings::kMountErrnoFieldNumber), v.reporter);
  } else {
    CheckMountConflicts(placed.mount_options, placed.mount_options, v.reporter);
  }
  CheckMkfsOptions(settings.mkfs_option(), source, Settings::kMkfsOptionFieldNumber, v.reporter);
  CheckFillSettings(v, settings, source);
  if (steps_known && settings.mount_option_size() > 0 &&
      !AnyStep(v.scenario, [](const Step& step) { return step.has_mount(); })) {
    v.reporter.Add(source.Locate(Settings::kMountOptionFieldNumber),
                   "mount_option is set, but there is no mount step that it could be added to");
  }
  if (steps_known && settings.mkfs_option_size() > 0 &&
      !AnyStep(v.scenario, [](const Step& step) { return step.has_mkfs(); })) {
    v.reporter.Add(source.Locate(Settings::kMkfsOptionFieldNumber),
                   "mkfs_option is set, but there is no mkfs step that it could be added to");
  }
  const bool has_command = AnyStep(v.scenario, [](const Step& step) { return step.has_command(); });
  const bool has_checker = std::ranges::any_of(
      v.scenario.check(), [](const Check& check) { return check.has_command(); });
  if (steps_known && settings.command_argument_size() > 0 && !has_command && !has_checker &&
      !v.source.AnyBroken(Scenario::kCheckFieldNumber)) {
    v.reporter.Add(source.Locate(Settings::kCommandArgumentFieldNumber),
                   "command_argument is set, but there is no command step and no check with a "
                   "command that it could be added to");
  }
  if (settings.drop_barriers() && v.log_disks.empty() && v.disks_known) {
    v.reporter.Add(source.Locate(Settings::kDropBarriersFieldNumber),
                   "drop_barriers is set, but no disk has a log_writes layer that it could be put "
                   "on top of");
  }
  if (settings.no_faults() && steps_known && !AnyStep(v.scenario, [](const Step& step) {
        return step.has_fault() || step.has_device_fault() || step.has_corrupt();
      })) {
    v.reporter.Add(
        source.Locate(Settings::kNoFaultsFieldNumber),
        "no_faults is set, but there is no fault, device_fault or corrupt step to leave out");
  }
  if (settings.has_model()) {
    CheckModel(settings.model(), Sub(source, Settings::kModelFieldNumber), v.reporter);
  }
  if (settings.has_kernel()) {
    const std::string mistake = KernelMistake(settings.kernel());
    if (!mistake.empty()) v.reporter.Add(source.Locate(Settings::kKernelFieldNumber), mistake);
  }
  // Against what every mount has anyway. What the mount steps say of themselves has been checked,
  // so their mistakes go nowhere here.
  Reporter ignored("");
  for (int i = 0; i < v.scenario.step_size(); ++i) {
    const MountStep& mount = v.scenario.step(i).mount();
    if (!v.scenario.step(i).has_mount() || mount.has_expect_errno() || refused) continue;
    const SourceNode& node =
        Sub(Sub(v.source, Scenario::kStepFieldNumber, i), Step::kMountFieldNumber);
    CheckMountConflicts(
        PlaceMountOptions(mount.option(), node, MountStep::kOptionFieldNumber, ignored),
        placed.mount_options, v.reporter);
  }
  return placed;
}

void CheckVariants(const Validation& v) {
  UniqueNames names("variant", v.reporter);
  for (int i = 0; i < v.scenario.variant_size(); ++i) {
    const Variant& variant = v.scenario.variant(i);
    const SourceNode& node = Sub(v.source, Scenario::kVariantFieldNumber, i);
    names.Add(variant.name(), node.Locate(Variant::kNameFieldNumber));
    if (variant.has_settings()) {
      CheckSettings(v, variant.settings(), Sub(node, Variant::kSettingsFieldNumber));
    }
    if (variant.has_expect()) {
      CheckExpect(v, variant.expect(), Sub(node, Variant::kExpectFieldNumber));
    }
  }
}

// Two values of different axes come together in one run, so they must not want different things.
void CheckTogether(const PlacedSettings& first, const PlacedSettings& second, Reporter& reporter) {
  if (!first.settings->has_mount_errno() && !second.settings->has_mount_errno()) {
    CheckMountConflicts(first.mount_options, second.mount_options, reporter);
  }
  const auto only_one = [&](bool both, const char* field, int number) {
    if (!both) return;
    reporter.Add(second.source->Locate(number),
                 fmt::format("{} is set by two axes (also in line {}), and one run has one; set it "
                             "in one axis",
                             field, first.source->Locate(number).line));
  };
  only_one(first.settings->has_model() && second.settings->has_model(), "model",
           Settings::kModelFieldNumber);
  only_one(first.settings->has_mount_errno() && second.settings->has_mount_errno(), "mount_errno",
           Settings::kMountErrnoFieldNumber);
  only_one(first.settings->has_kernel() && second.settings->has_kernel(), "kernel",
           Settings::kKernelFieldNumber);
  only_one(first.settings->has_seed() && second.settings->has_seed(), "seed",
           Settings::kSeedFieldNumber);
  only_one(first.settings->has_max_states() && second.settings->has_max_states(), "max_states",
           Settings::kMaxStatesFieldNumber);
}

std::vector<PlacedSettings> CheckAxis(const Validation& v, const Axis& axis,
                                      const SourceNode& node) {
  std::vector<PlacedSettings> all;
  UniqueNames names("value", v.reporter);
  for (int i = 0; i < axis.value_size(); ++i) {
    const AxisValue& value = axis.value(i);
    const SourceNode& value_node = Sub(node, Axis::kValueFieldNumber, i);
    names.Add(value.name(), value_node.Locate(AxisValue::kNameFieldNumber));
    if (value.has_settings()) {
      all.push_back(
          CheckSettings(v, value.settings(), Sub(value_node, AxisValue::kSettingsFieldNumber)));
    }
    if (value.has_expect()) {
      CheckExpect(v, value.expect(), Sub(value_node, AxisValue::kExpectFieldNumber));
    }
  }
  return all;
}

void CheckAxes(const Validation& v) {
  UniqueNames names("axis", v.reporter);
  std::vector<PlacedSettings> before;  // of the axes before
  uint64_t plans = 1;
  for (int i = 0; i < v.scenario.axis_size(); ++i) {
    const Axis& axis = v.scenario.axis(i);
    const SourceNode& node = Sub(v.source, Scenario::kAxisFieldNumber, i);
    names.Add(axis.name(), node.Locate(Axis::kNameFieldNumber));
    const std::vector<PlacedSettings> own = CheckAxis(v, axis, node);
    for (const PlacedSettings& second : own) {
      for (const PlacedSettings& first : before) CheckTogether(first, second, v.reporter);
    }
    before.insert(before.end(), own.begin(), own.end());
    // Beyond the limit the number only has to stay beyond it.
    plans = std::min<uint64_t>(plans * static_cast<uint64_t>(std::max(1, axis.value_size())),
                               uint64_t{1} << 40);
  }
  if (plans > kPlansMax) {
    v.reporter.Add(
        Sub(v.source, Scenario::kAxisFieldNumber).name,
        fmt::format("the axes have {} combinations; at most {} are allowed", plans, kPlansMax));
  }
}

// One "axis=value" of a cell; false when it names nothing.
bool CheckCellPlace(const Validation& v, const std::string& text, const SourceLocation& at,
                    std::map<std::string, std::string>& places) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos) {
    v.reporter.Add(at, fmt::format("a cell is at {}; \"axis=value\" is expected", Quoted(text)));
    return false;
  }
  const std::string axis_name = text.substr(0, equals);
  const std::string value_name = text.substr(equals + 1);
  std::vector<std::string> axes;
  for (const Axis& axis : v.scenario.axis()) {
    axes.push_back(axis.name());
    if (axis.name() != axis_name) continue;
    std::vector<std::string> values;
    for (const AxisValue& value : axis.value()) values.push_back(value.name());
    if (std::ranges::count(values, value_name) == 0) {
      v.reporter.Add(
          at, fmt::format("axis {} has no value {}; it has {}{}", axis_name, Quoted(value_name),
                          ListNames(values), DidYouMean(value_name, values)));
      return false;
    }
    if (!places.emplace(axis_name, value_name).second) {
      v.reporter.Add(at, fmt::format("the cell names axis {} twice; one value of each axis is "
                                     "expected",
                                     axis_name));
      return false;
    }
    return true;
  }
  v.reporter.Add(at, fmt::format("there is no axis {}; there are {}{}", Quoted(axis_name),
                                 ListNames(axes), DidYouMean(axis_name, axes)));
  return false;
}

void CheckCells(const Validation& v) {
  std::map<std::map<std::string, std::string>, uint32_t> seen;  // to its line
  for (int i = 0; i < v.scenario.cell_size(); ++i) {
    const Cell& cell = v.scenario.cell(i);
    const SourceNode& node = Sub(v.source, Scenario::kCellFieldNumber, i);
    if (cell.has_expect()) CheckExpect(v, cell.expect(), Sub(node, Cell::kExpectFieldNumber));
    std::map<std::string, std::string> places;
    bool good = true;
    for (int k = 0; k < cell.at_size(); ++k) {
      good &= CheckCellPlace(v, cell.at(k), node.Locate(Cell::kAtFieldNumber, k), places);
    }
    if (!good || node.AnyBroken(Cell::kAtFieldNumber)) continue;
    std::vector<std::string> missing;
    for (const Axis& axis : v.scenario.axis()) {
      if (!places.contains(axis.name())) missing.push_back(axis.name());
    }
    if (!missing.empty()) {
      v.reporter.Add(node.name, fmt::format("the cell has no value for axis {}; one of each axis "
                                            "is expected",
                                            ListNames(missing)));
      continue;
    }
    const auto [it, added] = seen.emplace(places, node.name.line);
    if (!added) {
      v.reporter.Add(node.name, fmt::format("the cell is there already (line {})", it->second));
    }
  }
}

}  // namespace

void CheckMatrix(const Validation& v) {
  CheckVariants(v);
  const bool axes_known = !v.source.AnyBroken(Scenario::kAxisFieldNumber);
  CheckAxes(v);
  if (axes_known) CheckCells(v);
  if (v.scenario.variant_size() > 0 && v.scenario.axis_size() > 0) {
    v.reporter.Add(Sub(v.source, Scenario::kAxisFieldNumber).name,
                   "variant and axis stand together; write either a list of variants or a matrix "
                   "of axes");
  }
}

}  // namespace plugpull::scenario
