// SPDX-License-Identifier: Apache-2.0
// Where a kubelet has volumes staged. Known on both sides: the guest calls with it, the host tells
// the contract of it.
#pragma once

#include <string>

namespace plugpull::vm {

// As pkg/volume/csi of Kubernetes builds it, but for its two middle words: there they are the
// driver's name and a hash of the volume's handle.
inline std::string CsiStagingPath(const std::string& agent, const std::string& disk,
                                  bool raw_block) {
  const std::string plugins = "/var/lib/kubelet/plugins/kubernetes.io/csi/";
  return raw_block ? plugins + "volumeDevices/staging/" + agent + "-" + disk
                   : plugins + agent + "/" + disk + "/globalmount";
}

}  // namespace plugpull::vm
