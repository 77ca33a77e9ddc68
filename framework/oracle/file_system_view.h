// SPDX-License-Identifier: Apache-2.0
// A recovered file system, as far as the oracles need to see it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/base/inode_times.h"
#include "framework/base/result.h"
#include "framework/image/fingerprint.h"

namespace plugpull::oracle {

enum class NodeType : uint8_t { kFile, kFolder, kOther };

struct NodeInfo {
  uint64_t inode = 0;
  NodeType type = NodeType::kFile;
  uint64_t size = 0;  // bytes
  InodeTimes times = {};
};

// Used from one thread.
class FileSystemView {
 public:
  virtual ~FileSystemView() = default;

  // What a path stands for: relative to the root folder, without a leading slash; "" is the root
  // itself. Nothing when there is no such name, or a folder on the way to it is missing or is no
  // folder. An error when the image could not be read there.
  virtual Result<std::optional<NodeInfo>> Lookup(const std::string& path) = 0;

  // The names in a folder that Lookup has found, in order; without "." and "..". An error when
  // they could not be read.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;

  // Fills `out` from byte `offset` of a file that Lookup has found; holes read as zeroes. Never
  // asked for bytes past the size. An error when they could not be read.
  virtual Status Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) = 0;

  // Of a file that Lookup has found. Equal stamps, also of other states that a caller looks at
  // with one ContentMemo, mean equal sizes and bytes. Nothing when it cannot be told.
  virtual std::optional<image::Fingerprint> Stamp(uint64_t inode) {
    (void)inode;
    return std::nullopt;
  }
};

}  // namespace plugpull::oracle
