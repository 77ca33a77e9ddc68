// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/recovered_tree.h"

#include <algorithm>

namespace plugpull::oracle {

Result<ext4::Node> RecoveredTree::Find(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto node, fs_.Lookup(path));
  if (!node) return UserError("there is no such name");
  return *node;
}

Result<TreeEntry> RecoveredTree::Look(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const ext4::Node node, Find(path));
  TreeEntry entry;
  if (node.regular) {
    entry.set_kind(TreeEntry::FILE);
    entry.set_links(node.links);
    entry.set_size_bytes(node.size_bytes);
  } else if (node.folder) {
    entry.set_kind(TreeEntry::FOLDER);
  } else if (node.symlink) {
    entry.set_kind(TreeEntry::SYMLINK);
  }
  entry.set_mode(node.mode);
  entry.set_owner(node.owner);
  entry.set_group(node.group);
  return entry;
}

Result<std::vector<std::string>> RecoveredTree::List(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const ext4::Node node, Find(path));
  PP_ASSIGN_OR_RETURN(const auto entries, fs_.List(node.inode));
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.first);
  // The kernel refuses to list such a folder, too (verify_dirent_name in fs/readdir.c).
  const bool impossible = std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name.empty() || name.find('/') != std::string::npos;
  });
  if (impossible) return UserError("it holds a name that is empty or has a slash");
  return names;
}

Status RecoveredTree::Read(const std::string& path, uint64_t offset, std::span<uint8_t> out) {
  PP_ASSIGN_OR_RETURN(const ext4::Node node, Find(path));
  return fs_.Read(node.inode, offset, out);
}

Result<std::string> RecoveredTree::Target(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const ext4::Node node, Find(path));
  return fs_.Target(node.inode);
}

}  // namespace plugpull::oracle
