// SPDX-License-Identifier: Apache-2.0
#include "framework/ext4/orphan_processing.h"

namespace plugpull::ext4 {

Result<uint32_t> ProcessOrphans(image::CowImage&, std::vector<uint64_t>&) {
  return UserError("orphans");
}

}  // namespace plugpull::ext4
