// SPDX-License-Identifier: Apache-2.0
// plugpull-csi-mock --endpoint unix:///PATH [--script FILE]: see mock_script.h. Each call is a line
// on stdout.
#include <signal.h>

#include <cstdio>
#include <string>
#include <vector>

#include "framework/base/rpc_code.h"
#include "framework/os/file.h"
#include "vm/guest/csi/mock_node.h"

namespace plugpull::csi {
namespace {

constexpr Bytes kScriptMax{1 << 20};

int Run(const std::vector<std::string>& words) {
  const auto complain = [](const Error& error, int status) {
    std::fprintf(stderr, "plugpull-csi-mock: %s\n", error.ToString().c_str());
    return status;
  };
  std::string endpoint;
  std::string text;
  for (size_t i = 0; i + 1 < words.size(); i += 2) {
    if (words[i] == "--endpoint") {
      endpoint = words[i + 1];
    } else if (words[i] == "--script") {
      auto read = os::ReadFile(words[i + 1], kScriptMax);
      if (!read.ok()) return complain(read.error(), 2);
      text = *std::move(read);
    } else {
      return complain(UserError("unknown word " + words[i]), 2);
    }
  }
  if (endpoint.empty() || words.size() % 2 != 0) {
    std::fputs("usage: plugpull-csi-mock --endpoint unix:///PATH [--script FILE]\n", stderr);
    return 2;
  }
  auto script = MockScript::Parse(text);
  if (!script.ok()) return complain(script.error(), 2);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  MockNode mock(*std::move(script));
  mock.on_call = [](const MockCall& call) {
    std::printf("%s %s %s\n", call.method.c_str(), call.volume.c_str(),
                RpcCodeName(call.code).c_str());
    std::fflush(stdout);
  };
  const auto server = Serve(endpoint, mock.identity(), mock.node());
  if (!server.ok()) return complain(server.error(), 3);
  int signal = 0;
  ::sigwait(&signals, &signal);
  return 0;
}

}  // namespace
}  // namespace plugpull::csi

int main(int argc, char** argv) {
  return plugpull::csi::Run(std::vector<std::string>(argv + 1, argv + argc));
}
