// SPDX-License-Identifier: Apache-2.0
// What other formats leave at the start of a disk, whole enough for libblkid to take it for one.
// Sources: the UEFI specification (GUID partition tables), the LUKS1 on-disk format, and
// libblkid's probes (util-linux, libblkid/src/superblocks and libblkid/src/partitions).
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::ext4 {

struct SignaturePart {
  uint64_t offset;  // bytes from the start of the disk
  std::vector<uint8_t> bytes;
};

// Each is a user error when the disk is too small for it.
// Bytes 440 to 511: an identifier, one Linux partition from 1 MiB to the end, and the signature.
Result<std::vector<SignaturePart>> MbrSignature(uint64_t disk_bytes);
// A protective MBR, the header and 128 entries, and their copies at the end.
Result<std::vector<SignaturePart>> GptSignature(uint64_t disk_bytes);
// A LUKS1 header with no key slot in use, in the first 592 bytes.
Result<std::vector<SignaturePart>> LuksSignature(uint64_t disk_bytes);
// The superblock of an xfs (version 4) as large as the disk, in the first 512 bytes.
Result<std::vector<SignaturePart>> XfsSignature(uint64_t disk_bytes);

}  // namespace plugpull::ext4
