// SPDX-License-Identifier: Apache-2.0
// What is known of ext4's mount options: which cannot stand together. Options that are not known
// here are left to the kernel.
// Sources: Documentation/admin-guide/ext4.rst and the option table of fs/ext4/super.c, kernels
// 5.10 to 6.12.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plugpull::scenario {

// "a,b" as mount -o takes it, in single options.
std::vector<std::string> SplitMountOptions(std::string_view text);

// Why the two options cannot be given to one mount, in words; empty when they can.
std::string MountOptionConflict(const std::string& first, const std::string& second);

// Why the option alone is wrong; empty when nothing is known against it.
std::string MountOptionMistake(const std::string& option);

}  // namespace plugpull::scenario
