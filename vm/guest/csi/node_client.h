// SPDX-License-Identifier: Apache-2.0
// One call to a CSI node plugin, as a kubelet makes it: over a connection of its own, with a
// deadline. Source: pkg/volume/csi/csi_client.go, csi_attacher.go, csi_mounter.go and csi_block.go
// of Kubernetes.
#pragma once

#include <cstdint>
#include <string>

#include "framework/proto/guest.pb.h"
#include "vm/guest/csi/call_plan.h"

namespace plugpull::csi {

struct CallOutcome {
  int code = 0;           // gRPC status
  std::string message;    // of the status; of NodeGetVolumeStats that of the volume's condition
  bool abnormal = false;  // the condition is
};

struct PluginInfo {
  CallOutcome outcome;
  std::string name;
  bool stages = true;  // STAGE_UNSTAGE_VOLUME
};

// All members may be called from several threads at once.
class NodeClient {
 public:
  explicit NodeClient(AgentStep agent) : agent_(std::move(agent)) {}

  // Makes the folders that a kubelet makes, and calls. `index`: the volume's in the agent's step.
  CallOutcome Call(Method method, const KubeletVolume& volume, size_t index) const;
  // GetPluginInfo.
  PluginInfo GetPluginInfo() const;
  // NodeGetCapabilities: only `outcome` and `stages` of what it gives.
  PluginInfo GetCapabilities() const;
  // Somebody listens at the endpoint.
  bool IsListening() const;

 private:
  AgentStep agent_;
};

// `text` with {serial}, {disk} and {device} replaced by the volume's own.
std::string FillIn(std::string text, const KubeletVolume& volume);

}  // namespace plugpull::csi
