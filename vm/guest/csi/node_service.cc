// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/node_service.h"

#include <algorithm>
#include <optional>

namespace plugpull::csi {
namespace {

namespace api = ::csi::v1;

std::optional<Capability> CapabilityOf(bool has, const api::VolumeCapability& from) {
  if (!has || from.access_type_case() == api::VolumeCapability::ACCESS_TYPE_NOT_SET) {
    return std::nullopt;
  }
  Capability capability;
  capability.block = from.has_block();
  if (from.has_mount()) {
    capability.type = from.mount().fs_type().empty() ? "ext4" : from.mount().fs_type();
    capability.options.assign(from.mount().mount_flags().begin(), from.mount().mount_flags().end());
  }
  return capability;
}

bool SupportsMode(const api::VolumeCapability& capability) {
  using Mode = api::VolumeCapability::AccessMode;
  const auto mode = capability.access_mode().mode();
  return mode == Mode::UNKNOWN || mode == Mode::SINGLE_NODE_WRITER ||
         mode == Mode::SINGLE_NODE_READER_ONLY || mode == Mode::SINGLE_NODE_SINGLE_WRITER;
}

const Reply kNoCapability{RpcCode::kInvalidArgument, "volume_capability is missing"};
const Reply kNoSuchMode{RpcCode::kInvalidArgument,
                        "a volume is for one node and one workload: access_mode is not supported"};

// The serial may be said beside volume_id, but not another one.
bool Contradicts(const std::string& id, const auto& publish_context) {
  const auto serial = publish_context.find("serial");
  return serial != publish_context.end() && serial->second != id;
}
const Reply kContradiction{RpcCode::kInvalidArgument,
                           "publish_context has another serial than volume_id"};

}  // namespace

grpc::Status IdentityService::GetPluginInfo(grpc::ServerContext*, const api::GetPluginInfoRequest*,
                                            api::GetPluginInfoResponse* response) {
  response->set_name(name_);
  response->set_vendor_version("1");
  return grpc::Status::OK;
}

grpc::Status IdentityService::GetPluginCapabilities(grpc::ServerContext*,
                                                    const api::GetPluginCapabilitiesRequest*,
                                                    api::GetPluginCapabilitiesResponse* response) {
  response->add_capabilities()->mutable_volume_expansion()->set_type(
      api::PluginCapability::VolumeExpansion::ONLINE);
  return grpc::Status::OK;
}

grpc::Status IdentityService::Probe(grpc::ServerContext*, const api::ProbeRequest*,
                                    api::ProbeResponse* response) {
  response->mutable_ready()->set_value(true);
  return grpc::Status::OK;
}

grpc::Status NodeService::Do(const std::string& volume, const std::function<Reply()>& call) {
  {
    const std::lock_guard lock(pending_mutex_);
    if (!pending_.insert(volume).second) {
      return {grpc::StatusCode::ABORTED, "a call for this volume is under way"};
    }
  }
  Reply reply;
  {
    const std::lock_guard lock(plugin_mutex_);
    reply = call();
    after_call_();
  }
  const std::lock_guard lock(pending_mutex_);
  pending_.erase(volume);
  return {static_cast<grpc::StatusCode>(reply.code), reply.message};
}

grpc::Status NodeService::NodeStageVolume(grpc::ServerContext*,
                                          const api::NodeStageVolumeRequest* request,
                                          api::NodeStageVolumeResponse*) {
  return Do(request->volume_id(), [&]() -> Reply {
    const auto capability =
        CapabilityOf(request->has_volume_capability(), request->volume_capability());
    if (!capability) return kNoCapability;
    if (!SupportsMode(request->volume_capability())) return kNoSuchMode;
    if (Contradicts(request->volume_id(), request->publish_context())) return kContradiction;
    return plugin_.Stage(request->volume_id(), request->staging_target_path(), *capability);
  });
}

grpc::Status NodeService::NodeUnstageVolume(grpc::ServerContext*,
                                            const api::NodeUnstageVolumeRequest* request,
                                            api::NodeUnstageVolumeResponse*) {
  return Do(request->volume_id(),
            [&] { return plugin_.Unstage(request->volume_id(), request->staging_target_path()); });
}

grpc::Status NodeService::NodePublishVolume(grpc::ServerContext*,
                                            const api::NodePublishVolumeRequest* request,
                                            api::NodePublishVolumeResponse*) {
  return Do(request->volume_id(), [&]() -> Reply {
    const auto capability =
        CapabilityOf(request->has_volume_capability(), request->volume_capability());
    if (!capability) return kNoCapability;
    if (!SupportsMode(request->volume_capability())) return kNoSuchMode;
    if (Contradicts(request->volume_id(), request->publish_context())) return kContradiction;
    return plugin_.Publish(request->volume_id(), request->staging_target_path(),
                           request->target_path(), *capability, request->readonly());
  });
}

grpc::Status NodeService::NodeUnpublishVolume(grpc::ServerContext*,
                                              const api::NodeUnpublishVolumeRequest* request,
                                              api::NodeUnpublishVolumeResponse*) {
  return Do(request->volume_id(),
            [&] { return plugin_.Unpublish(request->volume_id(), request->target_path()); });
}

grpc::Status NodeService::NodeGetVolumeStats(grpc::ServerContext*,
                                             const api::NodeGetVolumeStatsRequest* request,
                                             api::NodeGetVolumeStatsResponse* response) {
  return Do(request->volume_id(), [&] {
    Stats stats;
    Reply reply = plugin_.GetStats(request->volume_id(), request->volume_path(), stats);
    if (!reply.ok()) return reply;
    const auto add = [&](api::VolumeUsage::Unit unit, uint64_t total, uint64_t used,
                         uint64_t available) {
      api::VolumeUsage& usage = *response->add_usage();
      usage.set_unit(unit);
      usage.set_total(static_cast<int64_t>(total));
      usage.set_used(static_cast<int64_t>(used));
      usage.set_available(static_cast<int64_t>(available));
    };
    const Usage& usage = stats.usage;
    add(api::VolumeUsage::BYTES, usage.bytes_total, usage.bytes_used, usage.bytes_available);
    if (!stats.block) {
      add(api::VolumeUsage::INODES, usage.inodes_total, usage.inodes_used, usage.inodes_available);
    }
    response->mutable_volume_condition()->set_abnormal(stats.condition.abnormal);
    response->mutable_volume_condition()->set_message(stats.condition.message);
    return reply;
  });
}

grpc::Status NodeService::NodeExpandVolume(grpc::ServerContext*,
                                           const api::NodeExpandVolumeRequest* request,
                                           api::NodeExpandVolumeResponse* response) {
  return Do(request->volume_id(), [&] {
    uint64_t size_bytes = 0;
    const auto required = std::max<int64_t>(request->capacity_range().required_bytes(), 0);
    Reply reply = plugin_.Expand(request->volume_id(), request->volume_path(),
                                 static_cast<uint64_t>(required), size_bytes);
    response->set_capacity_bytes(static_cast<int64_t>(size_bytes));
    return reply;
  });
}

grpc::Status NodeService::NodeGetCapabilities(grpc::ServerContext*,
                                              const api::NodeGetCapabilitiesRequest*,
                                              api::NodeGetCapabilitiesResponse* response) {
  using Rpc = api::NodeServiceCapability::RPC;
  for (const auto type : {Rpc::STAGE_UNSTAGE_VOLUME, Rpc::GET_VOLUME_STATS, Rpc::EXPAND_VOLUME,
                          Rpc::VOLUME_CONDITION}) {
    response->add_capabilities()->mutable_rpc()->set_type(type);
  }
  return grpc::Status::OK;
}

grpc::Status NodeService::NodeGetInfo(grpc::ServerContext*, const api::NodeGetInfoRequest*,
                                      api::NodeGetInfoResponse* response) {
  response->set_node_id(node_id_);
  return grpc::Status::OK;
}

}  // namespace plugpull::csi
