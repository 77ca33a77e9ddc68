// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/node_client.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "framework/os/fd.h"
#include "vm/guest/csi/csi.grpc.pb.h"

namespace plugpull::csi {
namespace {

namespace api = ::csi::v1;
namespace fs = std::filesystem;

constexpr size_t kMessageBytesMax = 300;
constexpr std::string_view kUnix = "unix://";

// A status may hold any bytes; the timeline holds text.
std::string Printable(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, kMessageBytesMax)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out;
}

CallOutcome OutcomeOf(const grpc::Status& status) {
  return {static_cast<int>(status.error_code()), Printable(status.error_message()), false};
}

// Nothing is shared with other calls, the pause after a failed connection least of all.
std::shared_ptr<grpc::Channel> Connect(const std::string& endpoint) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // "unix:PATH" and the authority of a kubelet.
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  return grpc::CreateCustomChannel("unix:" + endpoint.substr(kUnix.size()),
                                   grpc::InsecureChannelCredentials(), arguments);
}

void SetDeadline(grpc::ClientContext& context, uint32_t timeout_ms) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(timeout_ms));
}

template <typename Map>
void FillMap(const google::protobuf::RepeatedPtrField<std::string>& pairs,
             const KubeletVolume& volume, Map& map) {
  for (const std::string& pair : pairs) {
    const size_t equals = std::min(pair.find('='), pair.size());
    map[pair.substr(0, equals)] = FillIn(pair.substr(std::min(equals + 1, pair.size())), volume);
  }
}

void FillContexts(const CsiNode& node, const KubeletVolume& volume, auto& request) {
  FillMap(node.publish_context(), volume, *request.mutable_publish_context());
  if (node.publish_context().empty()) {
    (*request.mutable_publish_context())["serial"] = volume.volume_id();
  }
  FillMap(node.volume_context(), volume, *request.mutable_volume_context());
}

void FillCapability(const AgentStep& agent, size_t index, api::VolumeCapability& capability) {
  capability.mutable_access_mode()->set_mode(api::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
  if (agent.csi().raw_block()) {
    capability.mutable_block();
    return;
  }
  capability.mutable_mount()->set_fs_type(agent.csi().fs_type());
  for (const std::string& option : agent.volume(static_cast<int>(index)).option()) {
    capability.mutable_mount()->add_mount_flags(option);
  }
}

// 0 when it cannot be told.
int64_t SizeOf(const std::string& device) {
  if (device.empty()) return 0;
  const os::Fd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  uint64_t bytes = 0;
  if (!fd.valid() || ::ioctl(fd.get(), BLKGETSIZE64, &bytes) != 0) return 0;
  return static_cast<int64_t>(bytes);
}

void MakeFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
}

}  // namespace

std::string FillIn(std::string text, const KubeletVolume& volume) {
  const std::pair<std::string_view, std::string> words[] = {
      {"{serial}", volume.volume_id()}, {"{disk}", volume.disk()}, {"{device}", volume.device()}};
  for (const auto& [word, value] : words) {
    for (size_t at = text.find(word); at != std::string::npos;
         at = text.find(word, at + value.size())) {
      text.replace(at, word.size(), value);
    }
  }
  return text;
}

bool NodeClient::IsListening() const {
  const std::string path = agent_.csi().endpoint().substr(kUnix.size());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return false;
  std::memcpy(address.sun_path, path.data(), path.size());
  const os::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd.valid() &&
         ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

PluginInfo NodeClient::GetPluginInfo() const {
  const auto stub = api::Identity::NewStub(Connect(agent_.csi().endpoint()));
  grpc::ClientContext context;
  SetDeadline(context, agent_.csi().call_timeout_ms());
  api::GetPluginInfoResponse response;
  const auto status = stub->GetPluginInfo(&context, api::GetPluginInfoRequest(), &response);
  return {OutcomeOf(status), Printable(response.name()), true};
}

PluginInfo NodeClient::GetCapabilities() const {
  const auto stub = api::Node::NewStub(Connect(agent_.csi().endpoint()));
  grpc::ClientContext context;
  SetDeadline(context, agent_.csi().call_timeout_ms());
  api::NodeGetCapabilitiesResponse response;
  const auto status =
      stub->NodeGetCapabilities(&context, api::NodeGetCapabilitiesRequest(), &response);
  PluginInfo info{OutcomeOf(status), {}, !status.ok()};
  for (const auto& capability : response.capabilities()) {
    info.stages |= capability.rpc().type() == api::NodeServiceCapability::RPC::STAGE_UNSTAGE_VOLUME;
  }
  return info;
}

CallOutcome NodeClient::Call(Method method, const KubeletVolume& volume, size_t index) const {
  const CsiNode& node = agent_.csi();
  const auto stub = api::Node::NewStub(Connect(node.endpoint()));
  grpc::ClientContext context;
  SetDeadline(context, node.call_timeout_ms());
  switch (method) {
    case Method::kStage: {
      MakeFolder(volume.staging_path());
      api::NodeStageVolumeRequest request;
      api::NodeStageVolumeResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_staging_target_path(volume.staging_path());
      FillCapability(agent_, index, *request.mutable_volume_capability());
      FillContexts(node, volume, request);
      return OutcomeOf(stub->NodeStageVolume(&context, request, &response));
    }
    case Method::kPublish: {
      MakeFolder(fs::path(volume.target_path()).parent_path());
      api::NodePublishVolumeRequest request;
      api::NodePublishVolumeResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_staging_target_path(volume.staging_path());
      request.set_target_path(volume.target_path());
      FillCapability(agent_, index, *request.mutable_volume_capability());
      FillContexts(node, volume, request);
      return OutcomeOf(stub->NodePublishVolume(&context, request, &response));
    }
    case Method::kUnpublish: {
      api::NodeUnpublishVolumeRequest request;
      api::NodeUnpublishVolumeResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_target_path(volume.target_path());
      return OutcomeOf(stub->NodeUnpublishVolume(&context, request, &response));
    }
    case Method::kUnstage: {
      api::NodeUnstageVolumeRequest request;
      api::NodeUnstageVolumeResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_staging_target_path(volume.staging_path());
      return OutcomeOf(stub->NodeUnstageVolume(&context, request, &response));
    }
    case Method::kExpand: {
      api::NodeExpandVolumeRequest request;
      api::NodeExpandVolumeResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_volume_path(volume.target_path());
      request.set_staging_target_path(volume.staging_path());
      FillCapability(agent_, index, *request.mutable_volume_capability());
      if (const int64_t size = SizeOf(volume.device()); size > 0) {
        request.mutable_capacity_range()->set_required_bytes(size);
      }
      return OutcomeOf(stub->NodeExpandVolume(&context, request, &response));
    }
    case Method::kStats: {
      api::NodeGetVolumeStatsRequest request;
      api::NodeGetVolumeStatsResponse response;
      request.set_volume_id(volume.volume_id());
      request.set_volume_path(volume.target_path());
      request.set_staging_target_path(volume.staging_path());
      CallOutcome outcome = OutcomeOf(stub->NodeGetVolumeStats(&context, request, &response));
      if (outcome.code != 0) return outcome;
      outcome.abnormal = response.volume_condition().abnormal();
      outcome.message = Printable(response.volume_condition().message());
      return outcome;
    }
  }
  return {static_cast<int>(RpcCode::kUnknown), "no such method", false};
}

}  // namespace plugpull::csi
