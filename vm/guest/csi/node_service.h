// SPDX-License-Identifier: Apache-2.0
// NodePlugin behind gRPC. Calls are carried out one after another; a second one for a volume that
// one is under way for is answered with ABORTED, as the specification asks for.
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <string>

#include "vm/guest/csi/node_plugin.h"
#include "vm/guest/csi/serve.h"

namespace plugpull::csi {

class IdentityService : public ::csi::v1::Identity::Service {
 public:
  explicit IdentityService(std::string name) : name_(std::move(name)) {}
  grpc::Status GetPluginInfo(grpc::ServerContext*, const ::csi::v1::GetPluginInfoRequest*,
                             ::csi::v1::GetPluginInfoResponse*) override;
  grpc::Status GetPluginCapabilities(grpc::ServerContext*,
                                     const ::csi::v1::GetPluginCapabilitiesRequest*,
                                     ::csi::v1::GetPluginCapabilitiesResponse*) override;
  grpc::Status Probe(grpc::ServerContext*, const ::csi::v1::ProbeRequest*,
                     ::csi::v1::ProbeResponse*) override;

 private:
  std::string name_;
};

class NodeService : public ::csi::v1::Node::Service {
 public:
  // `after_call` is run behind every call, by the thread that has served it, alone.
  NodeService(std::string node_id, NodePlugin& plugin, std::function<void()> after_call)
      : node_id_(std::move(node_id)), plugin_(plugin), after_call_(std::move(after_call)) {}

  grpc::Status NodeStageVolume(grpc::ServerContext*, const ::csi::v1::NodeStageVolumeRequest*,
                               ::csi::v1::NodeStageVolumeResponse*) override;
  grpc::Status NodeUnstageVolume(grpc::ServerContext*, const ::csi::v1::NodeUnstageVolumeRequest*,
                                 ::csi::v1::NodeUnstageVolumeResponse*) override;
  grpc::Status NodePublishVolume(grpc::ServerContext*, const ::csi::v1::NodePublishVolumeRequest*,
                                 ::csi::v1::NodePublishVolumeResponse*) override;
  grpc::Status NodeUnpublishVolume(grpc::ServerContext*,
                                   const ::csi::v1::NodeUnpublishVolumeRequest*,
                                   ::csi::v1::NodeUnpublishVolumeResponse*) override;
  grpc::Status NodeGetVolumeStats(grpc::ServerContext*, const ::csi::v1::NodeGetVolumeStatsRequest*,
                                  ::csi::v1::NodeGetVolumeStatsResponse*) override;
  grpc::Status NodeExpandVolume(grpc::ServerContext*, const ::csi::v1::NodeExpandVolumeRequest*,
                                ::csi::v1::NodeExpandVolumeResponse*) override;
  grpc::Status NodeGetCapabilities(grpc::ServerContext*,
                                   const ::csi::v1::NodeGetCapabilitiesRequest*,
                                   ::csi::v1::NodeGetCapabilitiesResponse*) override;
  grpc::Status NodeGetInfo(grpc::ServerContext*, const ::csi::v1::NodeGetInfoRequest*,
                           ::csi::v1::NodeGetInfoResponse*) override;

 private:
  grpc::Status Do(const std::string& volume, const std::function<Reply()>& call);

  std::string node_id_;
  NodePlugin& plugin_;
  std::function<void()> after_call_;
  std::mutex pending_mutex_;
  std::set<std::string> pending_;  // guarded by pending_mutex_
  std::mutex plugin_mutex_;        // guards plugin_
};

}  // namespace plugpull::csi
