// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/serve.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace plugpull::csi {

Result<std::unique_ptr<grpc::Server>> Serve(const std::string& endpoint,
                                            ::csi::v1::Identity::Service& identity,
                                            ::csi::v1::Node::Service& node) {
  constexpr std::string_view kUnix = "unix://";
  if (!endpoint.starts_with("unix:///")) {
    return UserError(
        fmt::format("the endpoint \"{}\" is not unix:// and an absolute path", endpoint));
  }
  const std::string path = endpoint.substr(kUnix.size());
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (std::filesystem::is_socket(path, error)) ::unlink(path.c_str());
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&identity);
  builder.RegisterService(&node);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return EnvironmentError(fmt::format("cannot listen at {}", endpoint));
  }
  return server;
}

}  // namespace plugpull::csi
