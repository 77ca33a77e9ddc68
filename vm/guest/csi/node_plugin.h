// SPDX-License-Identifier: Apache-2.0
// The reference agent as a CSI node plugin, without gRPC: what is answered to each call, and what
// is done for it. It mounts, counts failures, waits and gives up by the same code as the agent
// (vm/guest/agents), so what the contract of agents asks for is kept whatever the kubelet does:
// a call that comes before the next attempt is due, or after the volume was given up, is answered
// without touching the disk.
//
// volume_id is the serial of the disk. Nothing is kept in memory that a restart must not lose.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/rpc_code.h"
#include "vm/guest/agents/agent.h"
#include "vm/guest/agents/config.h"
#include "vm/guest/agents/decisions.h"
#include "vm/guest/agents/system.h"

namespace plugpull::csi {

struct Usage {
  uint64_t bytes_total = 0;
  uint64_t bytes_used = 0;
  uint64_t bytes_available = 0;
  uint64_t inodes_total = 0;
  uint64_t inodes_used = 0;
  uint64_t inodes_available = 0;
};

// What a node plugin needs of a machine beyond agents::System. errno values, 0 for success.
class NodeSystem {
 public:
  virtual ~NodeSystem() = default;
  // Makes `target`, a folder or with `is_file` a file, and has it show `source`.
  virtual int Bind(const std::string& source, const std::string& target, bool is_file,
                   bool read_only) = 0;
  // Removes an empty folder or a file. ENOENT is no error.
  virtual int RemoveTarget(const std::string& target) = 0;
  virtual int MeasureUsage(const std::string& path, Usage& usage) = 0;
  // Grows the ext4 that is mounted at `path` to as many bytes, in use.
  virtual int Grow(const std::string& path, uint64_t size_bytes) = 0;
  // Errors that ext4 has counted on a disk since somebody last checked it.
  virtual uint64_t ErrorsOf(agents::DeviceNumber device) = 0;
};

struct Reply {
  RpcCode code = RpcCode::kOk;
  std::string message;
  bool ok() const { return code == RpcCode::kOk; }
};

// What a volume shall be like.
struct Capability {
  bool block = false;
  std::string type;  // of the file system
  std::vector<std::string> options;
};

struct Condition {
  bool abnormal = false;
  std::string message;
};

struct Stats {
  bool block = false;
  Usage usage;  // of a block volume nothing but bytes_total
  Condition condition;
};

// One thread. All that is passed must outlive it. `defaults`: limits and the like; its volumes are
// not looked at.
class NodePlugin {
 public:
  NodePlugin(std::string name, const agents::Config& defaults, const agents::Volume& model,
             const agents::Decisions& decisions, agents::System& system, NodeSystem& node,
             uint64_t seed);

  Reply Stage(const std::string& id, const std::string& staging, const Capability& capability);
  Reply Unstage(const std::string& id, const std::string& staging);
  Reply Publish(const std::string& id, const std::string& staging, const std::string& target,
                const Capability& capability, bool read_only);
  Reply Unpublish(const std::string& id, const std::string& target);
  Reply GetStats(const std::string& id, const std::string& path, Stats& stats);
  // `required_bytes`: 0 for all that there is. `size_bytes`: how large it is then.
  Reply Expand(const std::string& id, const std::string& path, uint64_t required_bytes,
               uint64_t& size_bytes);
  // For an operator: what was given up is tried again.
  Reply Reset(const std::string& id);

 private:
  struct Busy {
    uint32_t tries = 0;
    int64_t next_ms = 0;
  };
  struct Found {
    std::optional<agents::Disk> disk;
    std::vector<agents::Disk> disks;
    std::vector<agents::MountEntry> mounts;
  };

  agents::Config ConfigFor(const std::string& id, const std::string& staging,
                           const Capability& capability) const;
  // The disk, all disks, and what is mounted; a reply when that cannot be told.
  std::optional<Reply> Find(const std::string& id, Found& found);
  Reply StageMount(const std::string& id, const std::string& staging, const Capability& capability);
  Reply WhyNotMounted(agents::Agent& agent, const agents::Volume& volume, bool there);
  // Nothing is mounted there any more, or why not. A disk that is not the volume's stays.
  Reply Clear(const std::string& target, const Found& found);

  std::string name_;
  const agents::Config& defaults_;
  const agents::Volume& model_;
  const agents::Decisions& decisions_;
  agents::System& system_;
  NodeSystem& node_;
  uint64_t seed_;
  std::map<std::string, Busy> busy_;  // by target
};

}  // namespace plugpull::csi
