// SPDX-License-Identifier: Apache-2.0
// Hardware virtualisation where it works, emulation where it does not. /dev/kvm proves little:
// there are machines (nested ones above all) where it opens and a guest hangs or dies under it.
#pragma once

#include <string>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "vm/machine.h"

namespace plugpull::vm {

inline constexpr Millis kAcceleratorProofMax{8'000};

struct AccelChoice {
  std::string accelerator;  // "kvm" or "tcg", as in MachineOptions
  std::string reason;       // one line: why this one
};

// `wanted` is "auto", "kvm" or "tcg"; anything else is a user error. "kvm" is an environment error
// where /dev/kvm cannot be opened. "auto" boots `kernel_image` with `initramfs` under kvm; only a
// guest that says hello within kAcceleratorProofMax is proof. The answer is remembered in the
// cache until the host boots again or gets another QEMU.
Result<AccelChoice> ChooseAccelerator(const std::string& wanted, const std::string& kernel_image,
                                      const std::string& initramfs);

// The same with a way to start machines, the path of the device, and the file that remembers, for
// tests.
struct AcceleratorProbe {
  MachineFactory start;
  std::string device = "/dev/kvm";
  std::string memory_path;  // accel.json
  std::string key;          // the answer holds while this text is the same
  Millis proof_max = kAcceleratorProofMax;
};
Result<AccelChoice> ChooseAcceleratorWith(const AcceleratorProbe& probe, const std::string& wanted,
                                          const std::string& kernel_image,
                                          const std::string& initramfs);

}  // namespace plugpull::vm
