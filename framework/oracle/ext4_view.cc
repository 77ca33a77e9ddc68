// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/ext4_view.h"

namespace plugpull::oracle {

Result<std::optional<NodeInfo>> Ext4View::Lookup(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto node, fs_.Lookup(path));
  if (!node) return std::optional<NodeInfo>();
  NodeInfo info;
  info.inode = node->inode;
  info.size = node->size_bytes;
  info.type = node->folder ? NodeType::kFolder : node->regular ? NodeType::kFile : NodeType::kOther;
  return std::optional<NodeInfo>(info);
}

Status Ext4View::Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) {
  return fs_.Read(static_cast<uint32_t>(inode), offset, out);
}

}  // namespace plugpull::oracle
