// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/ext4_view.h"

namespace plugpull::oracle {

Result<std::optional<NodeInfo>> Ext4View::Lookup(const std::string& path) {
  std::optional<ext4::Node> node;
  ext4::TreeReader::Answer quick;
  if (reader_ != nullptr) quick = reader_->Lookup(path);
  if (quick.plain) {
    node = quick.node;
  } else {
    PP_ASSIGN_OR_RETURN(node, fs_.Lookup(path));
  }
  if (!node) return std::optional<NodeInfo>();
  NodeInfo info;
  info.inode = node->inode;
  info.size = node->size_bytes;
  info.times = node->times;
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
  const auto number = static_cast<uint32_t>(inode);
  if (reader_ != nullptr && reader_->Read(number, offset, out)) return OkStatus();
  return fs_.Read(number, offset, out);
}

std::optional<image::Fingerprint> Ext4View::Stamp(uint64_t inode) {
  return reader_ == nullptr ? std::nullopt : reader_->Stamp(static_cast<uint32_t>(inode));
}

}  // namespace plugpull::oracle
