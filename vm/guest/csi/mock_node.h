// SPDX-License-Identifier: Apache-2.0
// A CSI node plugin that does nothing, and answers what a script says: to test who calls plugins.
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "vm/guest/csi/mock_script.h"
#include "vm/guest/csi/serve.h"

namespace plugpull::csi {

struct MockCall {
  std::string method;
  std::string volume;
  std::string request;  // as protobuf's short text
  int code = 0;
  std::chrono::steady_clock::time_point at;
};

// Any number of threads.
class MockNode {
 public:
  explicit MockNode(MockScript script);
  MockNode(const MockNode&) = delete;

  ::csi::v1::Identity::Service& identity() { return identity_; }
  ::csi::v1::Node::Service& node() { return node_; }
  // In the order in which they came.
  std::vector<MockCall> Calls() const;
  // Is told of every call, by the thread that serves it.
  std::function<void(const MockCall&)> on_call;

 private:
  class IdentityService : public ::csi::v1::Identity::Service {
   public:
    explicit IdentityService(MockNode& mock) : mock_(mock) {}
    grpc::Status GetPluginInfo(grpc::ServerContext*, const ::csi::v1::GetPluginInfoRequest*,
                               ::csi::v1::GetPluginInfoResponse*) override;
    grpc::Status GetPluginCapabilities(grpc::ServerContext*,
                                       const ::csi::v1::GetPluginCapabilitiesRequest*,
                                       ::csi::v1::GetPluginCapabilitiesResponse*) override;
    grpc::Status Probe(grpc::ServerContext*, const ::csi::v1::ProbeRequest*,
                       ::csi::v1::ProbeResponse*) override;

   private:
    MockNode& mock_;
  };
  class NodeService : public ::csi::v1::Node::Service {
   public:
    explicit NodeService(MockNode& mock) : mock_(mock) {}
    grpc::Status NodeStageVolume(grpc::ServerContext*, const ::csi::v1::NodeStageVolumeRequest*,
                                 ::csi::v1::NodeStageVolumeResponse*) override;
    grpc::Status NodeUnstageVolume(grpc::ServerContext*, const ::csi::v1::NodeUnstageVolumeRequest*,
                                   ::csi::v1::NodeUnstageVolumeResponse*) override;
    grpc::Status NodePublishVolume(grpc::ServerContext*, const ::csi::v1::NodePublishVolumeRequest*,
                                   ::csi::v1::NodePublishVolumeResponse*) override;
    grpc::Status NodeUnpublishVolume(grpc::ServerContext*,
                                     const ::csi::v1::NodeUnpublishVolumeRequest*,
                                     ::csi::v1::NodeUnpublishVolumeResponse*) override;
    grpc::Status NodeGetVolumeStats(grpc::ServerContext*,
                                    const ::csi::v1::NodeGetVolumeStatsRequest*,
                                    ::csi::v1::NodeGetVolumeStatsResponse*) override;
    grpc::Status NodeExpandVolume(grpc::ServerContext*, const ::csi::v1::NodeExpandVolumeRequest*,
                                  ::csi::v1::NodeExpandVolumeResponse*) override;
    grpc::Status NodeGetCapabilities(grpc::ServerContext*,
                                     const ::csi::v1::NodeGetCapabilitiesRequest*,
                                     ::csi::v1::NodeGetCapabilitiesResponse*) override;
    grpc::Status NodeGetInfo(grpc::ServerContext*, const ::csi::v1::NodeGetInfoRequest*,
                             ::csi::v1::NodeGetInfoResponse*) override;

   private:
    MockNode& mock_;
  };

  grpc::Status Answer(const std::string& method, const std::string& volume,
                      const google::protobuf::Message& request, MockAnswer* answer = nullptr);

  IdentityService identity_{*this};
  NodeService node_{*this};
  mutable std::mutex mutex_;
  MockScript script_;            // guarded by mutex_
  std::vector<MockCall> calls_;  // guarded by mutex_
};

}  // namespace plugpull::csi
