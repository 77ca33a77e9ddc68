// SPDX-License-Identifier: Apache-2.0
// A file system in memory for tests of the oracles: what a FileTree holds, and then
// whatever the test does to it.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "framework/oracle/file_system_view.h"
#include "framework/workload/content.h"
#include "framework/workload/file_tree.h"

namespace plugpull::oracle {

class MemoryView : public FileSystemView {
 public:
  struct Node {
    NodeType type = NodeType::kFile;
    std::vector<uint8_t> bytes;
  };

  Result<std::optional<NodeInfo>> Lookup(const std::string& path) override {
    if (unreadable_paths.contains(path)) return UserError("the folder's block is damaged");
    if (path.empty()) return std::optional<NodeInfo>({0, NodeType::kFolder, 0});
    const auto found = names.find(path);
    if (found == names.end()) return std::optional<NodeInfo>();
    const Node& node = nodes.at(found->second);
    NodeInfo info{found->second, node.type, node.bytes.size()};
    if (const auto at = times.find(path); at != times.end()) info.times = at->second;
    return std::optional<NodeInfo>(info);
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    if (unreadable_paths.contains(path)) return UserError("the folder's block is damaged");
    const std::string prefix = path.empty() ? "" : path + "/";
    std::vector<std::string> list;
    for (const auto& [name, inode] : names) {
      if (!name.starts_with(prefix)) continue;
      const std::string rest = name.substr(prefix.size());
      if (!rest.empty() && rest.find('/') == std::string::npos) list.push_back(rest);
    }
    return list;
  }

  Status Read(uint64_t inode, uint64_t offset, std::span<uint8_t> out) override {
    if (unreadable_inodes.contains(inode)) return UserError("an extent block is damaged");
    const std::vector<uint8_t>& bytes = nodes.at(inode).bytes;
    PP_CHECK(offset + out.size() <= bytes.size());
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return OkStatus();
  }

  std::vector<uint8_t>& BytesOf(const std::string& path) { return nodes.at(names.at(path)).bytes; }
  void Zero(const std::string& path, uint64_t offset, uint64_t length) {
    std::fill_n(BytesOf(path).begin() + static_cast<std::ptrdiff_t>(offset), length, 0);
  }
  void Fill(const std::string& path, uint64_t file, uint64_t version, uint64_t offset,
            uint64_t length) {
    workload::FillContent(file, version, offset, std::span(BytesOf(path)).subspan(offset, length));
  }
  void AddFile(const std::string& path, std::vector<uint8_t> bytes) {
    const uint64_t inode = next_inode++;
    nodes[inode] = {NodeType::kFile, std::move(bytes)};
    names[path] = inode;
  }
  void AddFolder(const std::string& path) {
    const uint64_t inode = next_inode++;
    nodes[inode] = {NodeType::kFolder, {}};
    names[path] = inode;
  }

  std::map<std::string, InodeTimes> times;  // by path
  std::map<std::string, uint64_t> names;
  std::map<uint64_t, Node> nodes;  // by inode
  std::set<std::string> unreadable_paths;
  std::set<uint64_t> unreadable_inodes;
  uint64_t next_inode = 1;
};

// The bytes that a content map describes.
inline std::vector<uint8_t> BytesOf(uint64_t file, const workload::ContentMap& content) {
  std::vector<uint8_t> bytes(content.size_bytes());
  for (const auto& [start, stretch] : content.versions().stretches()) {
    if (stretch.value == 0) continue;
    workload::FillContent(file, stretch.value, start,
                          std::span(bytes).subspan(start, stretch.end - start));
  }
  return bytes;
}

// A healthy file system after the first `count` operations; those that failed did nothing.
inline MemoryView ViewAfter(const WorkloadTrace& trace, uint64_t count) {
  workload::FileTree tree;
  std::set<std::string> paths;
  for (uint64_t i = 0; i < count; ++i) {
    const int position = static_cast<int>(i);
    if (position < trace.result_size() && trace.result(position).error() != 0) continue;
    const auto changes = tree.Apply(trace.operation(position), i);
    PP_CHECK(changes.ok());
    for (const workload::NameChange& change : *changes) paths.insert(change.path);
  }
  MemoryView view;
  std::map<uint64_t, uint64_t> inodes;  // by file
  for (const std::string& path : paths) {
    const workload::Binding binding = tree.Lookup(path);
    if (binding.kind == workload::Binding::Kind::kFolder) view.AddFolder(path);
    if (binding.kind != workload::Binding::Kind::kFile) continue;
    if (const auto known = inodes.find(binding.file); known != inodes.end()) {
      view.names[path] = known->second;
      continue;
    }
    view.AddFile(path, BytesOf(binding.file, tree.FindFile(binding.file)->content));
    inodes[binding.file] = view.names[path];
  }
  return view;
}

// Writes traces by hand: each call adds an operation that succeeded.
class Script {
 public:
  Script& Mkdir(const std::string& path) { return Add(Operation::MKDIR, path); }
  Script& Rmdir(const std::string& path) { return Add(Operation::RMDIR, path); }
  Script& Create(const std::string& path, uint64_t file) {
    Add(Operation::CREATE, path);
    last().set_file(file);
    return *this;
  }
  Script& Write(const std::string& path, uint64_t file, uint64_t offset, uint64_t length,
                bool o_sync = false) {
    Add(Operation::WRITE, path);
    last().set_file(file);
    last().set_offset(offset);
    last().set_length(length);
    last().set_o_sync(o_sync);
    return *this;
  }
  Script& Truncate(const std::string& path, uint64_t file, uint64_t length) {
    Add(Operation::TRUNCATE, path);
    last().set_file(file);
    last().set_length(length);
    return *this;
  }
  Script& Rename(const std::string& from, const std::string& to) {
    Add(Operation::RENAME, from);
    last().set_path2(to);
    return *this;
  }
  Script& Link(const std::string& from, const std::string& to) {
    Add(Operation::LINK, from);
    last().set_path2(to);
    return *this;
  }
  Script& Unlink(const std::string& path) { return Add(Operation::UNLINK, path); }
  Script& Fsync(const std::string& path) { return Add(Operation::FSYNC, path); }
  Script& Fdatasync(const std::string& path) { return Add(Operation::FDATASYNC, path); }
  Script& Sync() { return Add(Operation::SYNC, ""); }
  // The operation before failed.
  Script& Failed(int error = 5) {
    trace_.mutable_result(trace_.result_size() - 1)->set_error(error);
    return *this;
  }
  // The guest died before it could say how the operation before ended.
  Script& NoResult() {
    trace_.mutable_result()->RemoveLast();
    return *this;
  }

  const WorkloadTrace& trace() const { return trace_; }
  uint64_t size() const { return static_cast<uint64_t>(trace_.operation_size()); }

 private:
  Script& Add(Operation::Kind kind, const std::string& path) {
    trace_.add_result()->set_index(size());
    trace_.add_operation()->set_kind(kind);
    last().set_path(path);
    return *this;
  }
  Operation& last() { return *trace_.mutable_operation(trace_.operation_size() - 1); }

  WorkloadTrace trace_;
};

}  // namespace plugpull::oracle
