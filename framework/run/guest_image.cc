// SPDX-License-Identifier: Apache-2.0
#include "framework/run/guest_image.h"

#include <filesystem>

#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/qemu/accelerator.h"

namespace plugpull::run {

Result<GuestImage> PrepareGuestImage(const Guest& guest, const std::string& accelerator,
                                     const std::string& scenario_path, bool needs_kubelet) {
  PP_ASSIGN_OR_RETURN(vm::Kernel kernel, vm::ResolveKernel(guest.kernel()));
  GuestImage image;
  image.kernel_image = kernel.image;
  vm::InitramfsOptions options;
  options.kernel = std::move(kernel);
  options.programs.assign(guest.program().begin(), guest.program().end());
  if (needs_kubelet) options.programs.emplace_back("plugpull-kubelet");
  options.modules = vm::DefaultModules();
  const auto folder = std::filesystem::path(scenario_path).parent_path();
  for (const std::string& file : guest.file()) {
    const std::filesystem::path path(file);
    options.files["/scenario/" + path.filename().string()] =
        path.is_absolute() ? file : (folder / path).string();
  }
  PP_ASSIGN_OR_RETURN(image.initramfs, vm::BuildInitramfs(options));
  // Only emulation can make time jump.
  const std::string wanted = guest.clock() == Guest::WARPED ? "tcg" : accelerator;
  PP_ASSIGN_OR_RETURN(auto choice,
                      vm::ChooseAccelerator(wanted, image.kernel_image, image.initramfs));
  image.accelerator = std::move(choice.accelerator);
  image.accelerator_reason = std::move(choice.reason);
  return image;
}

}  // namespace plugpull::run
