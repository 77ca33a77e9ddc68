// SPDX-License-Identifier: Apache-2.0
// What a file system shows to its users, as a list that two views of one file system must agree
// on: names, types, permissions, owners, links, sizes and contents. Times are left out, since
// recovery changes them, and so is the size of folders. The guest makes the list of what its kernel
// mounted, the host of what it recovered, both with this code.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/guest.pb.h"

namespace plugpull::tree {

// Both sides use the same, so that a tree above them is cut at the same place in both.
struct Limits {
  uint64_t entries = 50'000;
  uint64_t depth = 200;
  uint64_t path_bytes = 3000;             // a longer path cannot be handed to a system call
  uint64_t content_bytes = 512ULL << 20;  // read in all; files behind that have no fingerprint
};

// One file system; used from one thread. Paths are as in TreeEntry.
class Reader {
 public:
  virtual ~Reader() = default;
  // Fills in all but path, content and unreadable.
  virtual Result<TreeEntry> Look(const std::string& path) = 0;
  // Names in a folder without . and .., in any order.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  // Fills `out` from byte `offset` of a file, within its size.
  virtual Status Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) = 0;
  virtual Result<std::string> Target(const std::string& path) = 0;  // of a symbolic link
};

// Never fails: what cannot be read says so in its entry.
FileTree ReadTree(Reader& reader, const Limits& limits = {});

// Where two trees first differ, in words, such as "/a/b: 4096 bytes by the kernel, 0 bytes by
// e2fsck"; nothing when they agree. Two entries that cannot be read agree, whatever the reasons.
std::optional<std::string> FirstDifference(const FileTree& a, std::string_view a_name,
                                           const FileTree& b, std::string_view b_name);

}  // namespace plugpull::tree
