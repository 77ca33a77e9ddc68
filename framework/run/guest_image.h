// SPDX-License-Identifier: Apache-2.0
// What a plan's guest boots: kernel, initramfs, accelerator.
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::run {

struct GuestImage {
  std::string kernel_image;  // path
  std::string initramfs;     // path
  std::string accelerator;   // "kvm" or "tcg"
  std::string accelerator_reason;
};

// Fetches and builds what is missing. `scenario_path`: files named by the scenario are relative to
// its folder. `needs_kubelet`: a step starts a CSI node plugin.
Result<GuestImage> PrepareGuestImage(const Guest& guest, const std::string& accelerator,
                                     const std::string& scenario_path, bool needs_kubelet = false);

}  // namespace plugpull::run
