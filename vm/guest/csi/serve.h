// SPDX-License-Identifier: Apache-2.0
// A CSI plugin's end of the line: gRPC on a unix socket.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "framework/base/result.h"
#include "vm/guest/csi/csi.grpc.pb.h"

namespace plugpull::csi {

// Listens at "unix:///PATH" until the server is destroyed; makes the folder, and takes the place
// of a socket that an earlier process left. The services must outlive it. An environment error
// when it cannot listen there, a user error for another kind of endpoint.
Result<std::unique_ptr<grpc::Server>> Serve(const std::string& endpoint,
                                            ::csi::v1::Identity::Service& identity,
                                            ::csi::v1::Node::Service& node);

}  // namespace plugpull::csi
