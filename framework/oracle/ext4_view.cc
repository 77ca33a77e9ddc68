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

Result<std::vector<std::string>> Ext4View::List(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto folder, fs_.Lookup(path));
  if (!folder) return UserError("there is no folder /" + path);
  PP_ASSIGN_OR_RETURN(const auto entries, fs_.List(folder->inode));
  std::vector<std::string> names;
  names.reserve(entries.size());
  for (const auto& entry : entries) names.push_back(entry.first);
  return names;
}

Status Ext4View::Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) {
  return fs_.Read(static_cast<uint32_t>(inode), offset, out);
}

}  // namespace plugpull::oracle
