// SPDX-License-Identifier: Apache-2.0
#include "framework/run/mount_use.h"

#include <optional>

#include "framework/scenario/mount_options.h"

namespace plugpull::run {

using ext4::DataMode;

namespace {

struct Options {
  std::optional<DataMode> data_mode;
  bool nobarrier = false;

  void Take(const std::string& list) {
    for (const std::string& option : scenario::SplitMountOptions(list)) {
      if (option == "data=ordered") data_mode = DataMode::kOrdered;
      if (option == "data=writeback") data_mode = DataMode::kWriteback;
      if (option == "data=journal") data_mode = DataMode::kJournal;
      if (option == "nobarrier" || option == "barrier=0") nobarrier = true;
      if (option == "barrier" || option == "barrier=1") nobarrier = false;
    }
  }
};

}  // namespace

MountUse MountUseOf(const Scenario* scenario, const std::string& disk,
                    std::span<const uint8_t> base) {
  MountUse use;
  if (scenario == nullptr) return use;
  Options defaults;
  if (const auto super = ext4::ParseSuperblock(base); super.ok()) {
    defaults.data_mode = super->default_data_mode.value_or(DataMode::kOrdered);
    defaults.nobarrier = super->default_nobarrier;
    defaults.Take(super->mount_options);
  }
  bool all_known = true;
  for (const Step& step : scenario->step()) {
    const MountStep& mount = step.mount();
    if (!step.has_mount() || mount.disk() != disk || !mount.expect_errno().empty()) continue;
    Options options = defaults;
    for (const std::string& list : mount.option()) options.Take(list);
    use.nobarrier |= options.nobarrier;
    all_known &= options.data_mode.has_value();
    if (options.data_mode) use.data_modes.insert(*options.data_mode);
  }
  if (!all_known) use.data_modes.clear();
  return use;
}

}  // namespace plugpull::run
