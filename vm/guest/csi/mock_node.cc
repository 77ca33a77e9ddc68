// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/mock_node.h"

#include <thread>
#include <utility>

namespace plugpull::csi {
namespace {

namespace api = ::csi::v1;

constexpr std::pair<const char*, api::NodeServiceCapability::RPC::Type> kCapabilities[] = {
    {"STAGE_UNSTAGE_VOLUME", api::NodeServiceCapability::RPC::STAGE_UNSTAGE_VOLUME},
    {"GET_VOLUME_STATS", api::NodeServiceCapability::RPC::GET_VOLUME_STATS},
    {"EXPAND_VOLUME", api::NodeServiceCapability::RPC::EXPAND_VOLUME},
    {"VOLUME_CONDITION", api::NodeServiceCapability::RPC::VOLUME_CONDITION}};

}  // namespace

MockNode::MockNode(MockScript script) : script_(std::move(script)) {}

std::vector<MockCall> MockNode::Calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

grpc::Status MockNode::Answer(const std::string& method, const std::string& volume,
                              const google::protobuf::Message& request, MockAnswer* answer) {
  MockAnswer given;
  MockCall call{method, volume, request.ShortDebugString(), 0, std::chrono::steady_clock::now()};
  {
    const std::lock_guard lock(mutex_);
    given = script_.Next(method, volume);
    call.code = given.code;
    calls_.push_back(call);
  }
  if (on_call) on_call(call);
  if (given.delay > Millis(0)) std::this_thread::sleep_for(given.delay);
  if (answer != nullptr) *answer = given;
  return {static_cast<grpc::StatusCode>(given.code), given.message};
}

grpc::Status MockNode::IdentityService::GetPluginInfo(grpc::ServerContext*,
                                                      const api::GetPluginInfoRequest* request,
                                                      api::GetPluginInfoResponse* response) {
  response->set_name(mock_.script_.name());
  response->set_vendor_version("1");
  return mock_.Answer("GetPluginInfo", "", *request);
}

grpc::Status MockNode::IdentityService::GetPluginCapabilities(
    grpc::ServerContext*, const api::GetPluginCapabilitiesRequest* request,
    api::GetPluginCapabilitiesResponse*) {
  return mock_.Answer("GetPluginCapabilities", "", *request);
}

grpc::Status MockNode::IdentityService::Probe(grpc::ServerContext*,
                                              const api::ProbeRequest* request,
                                              api::ProbeResponse* response) {
  response->mutable_ready()->set_value(true);
  return mock_.Answer("Probe", "", *request);
}

grpc::Status MockNode::NodeService::NodeStageVolume(grpc::ServerContext*,
                                                    const api::NodeStageVolumeRequest* request,
                                                    api::NodeStageVolumeResponse*) {
  return mock_.Answer("NodeStageVolume", request->volume_id(), *request);
}

grpc::Status MockNode::NodeService::NodeUnstageVolume(grpc::ServerContext*,
                                                      const api::NodeUnstageVolumeRequest* request,
                                                      api::NodeUnstageVolumeResponse*) {
  return mock_.Answer("NodeUnstageVolume", request->volume_id(), *request);
}

grpc::Status MockNode::NodeService::NodePublishVolume(grpc::ServerContext*,
                                                      const api::NodePublishVolumeRequest* request,
                                                      api::NodePublishVolumeResponse*) {
  return mock_.Answer("NodePublishVolume", request->volume_id(), *request);
}

grpc::Status MockNode::NodeService::NodeUnpublishVolume(
    grpc::ServerContext*, const api::NodeUnpublishVolumeRequest* request,
    api::NodeUnpublishVolumeResponse*) {
  return mock_.Answer("NodeUnpublishVolume", request->volume_id(), *request);
}

grpc::Status MockNode::NodeService::NodeGetVolumeStats(
    grpc::ServerContext*, const api::NodeGetVolumeStatsRequest* request,
    api::NodeGetVolumeStatsResponse* response) {
  MockAnswer answer;
  const auto status = mock_.Answer("NodeGetVolumeStats", request->volume_id(), *request, &answer);
  response->mutable_volume_condition()->set_abnormal(answer.abnormal);
  response->mutable_volume_condition()->set_message(answer.message);
  return status;
}

grpc::Status MockNode::NodeService::NodeExpandVolume(grpc::ServerContext*,
                                                     const api::NodeExpandVolumeRequest* request,
                                                     api::NodeExpandVolumeResponse* response) {
  response->set_capacity_bytes(request->capacity_range().required_bytes());
  return mock_.Answer("NodeExpandVolume", request->volume_id(), *request);
}

grpc::Status MockNode::NodeService::NodeGetCapabilities(
    grpc::ServerContext*, const api::NodeGetCapabilitiesRequest* request,
    api::NodeGetCapabilitiesResponse* response) {
  for (const auto& [name, type] : kCapabilities) {
    if (mock_.script_.Has(name)) response->add_capabilities()->mutable_rpc()->set_type(type);
  }
  return mock_.Answer("NodeGetCapabilities", "", *request);
}

grpc::Status MockNode::NodeService::NodeGetInfo(grpc::ServerContext*,
                                                const api::NodeGetInfoRequest* request,
                                                api::NodeGetInfoResponse* response) {
  response->set_node_id("mock");
  return mock_.Answer("NodeGetInfo", "", *request);
}

}  // namespace plugpull::csi
