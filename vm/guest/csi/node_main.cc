// SPDX-License-Identifier: Apache-2.0
// plugpull-csi-node: the reference agent as a CSI node plugin. See README.md.
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "framework/os/file.h"
#include "vm/guest/agents/linux_system.h"
#include "vm/guest/csi/linux_node.h"
#include "vm/guest/csi/node_service.h"

namespace plugpull::csi {
namespace {

constexpr char kProgram[] = "plugpull-csi-node";
constexpr char kUsage[] =
    "usage: plugpull-csi-node --config FILE --endpoint unix:///PATH [--name NAME] [--node-id ID]\n"
    "       plugpull-csi-node --config FILE reset VOLUME...\n"
    "FILE is a configuration of plugpull-reference-agent without volumes: its limits.\n"
    "exit status: 0 ended by a signal, or reset; 2 usage; 3 trouble\n";

struct Words {
  std::string config;
  std::string endpoint;
  std::string name = "node.csi.plugpull";
  std::string node_id = "node";
  bool reset = false;
  std::vector<std::string> volumes;
};

bool Parse(const std::vector<std::string>& words, Words& out) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (out.reset) {
      out.volumes.push_back(words[i]);
      continue;
    }
    if (words[i] == "reset") {
      out.reset = true;
      continue;
    }
    std::string* to = words[i] == "--config"     ? &out.config
                      : words[i] == "--endpoint" ? &out.endpoint
                      : words[i] == "--name"     ? &out.name
                      : words[i] == "--node-id"  ? &out.node_id
                                                 : nullptr;
    if (to == nullptr || ++i == words.size()) return false;
    *to = words[i];
  }
  return !out.config.empty() && out.endpoint.empty() == out.reset &&
         out.volumes.empty() != out.reset;
}

int Complain(const Error& error) {
  std::fprintf(stderr, "%s: %s\n", kProgram, error.ToString().c_str());
  return error.code == ErrorCode::kUser ? 2 : 3;
}

// The keys before the first volume hold for all, so one that is never used shows what they say.
Result<agents::Config> LoadLimits(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const std::string text, os::ReadFile(path, Bytes(agents::kConfigBytesMax)));
  auto config = agents::ParseConfig(text + "\nvolume model\ntarget /model\n");
  if (!config.ok()) return WithContext(std::move(config).error(), path);
  if (config->volumes.size() != 1) {
    return UserError(path + " has volumes; a node plugin is told of them by its caller");
  }
  return config;
}

int Run(const std::vector<std::string>& words) {
  Words options;
  if (!Parse(words, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const auto config = LoadLimits(options.config);
  if (!config.ok()) return Complain(config.error());
  // Blocks SIGTERM and SIGINT in this thread, and so in all that gRPC starts.
  agents::LinuxSystem system(kProgram, config->state_folder, config->alert_file);
  LinuxNode node(system);
  const agents::Decisions decisions;
  uint64_t seed = config->seed;
  if (seed == 0) (void)!::getrandom(&seed, sizeof seed, 0);
  NodePlugin plugin(kProgram, *config, config->volumes.front(), decisions, system, node, seed);
  if (options.reset) {
    for (const std::string& volume : options.volumes) {
      const Reply reply = plugin.Reset(volume);
      if (!reply.ok()) return Complain(EnvironmentError(reply.message));
    }
    return 0;
  }
  IdentityService identity(options.name);
  // A call that waits may have taken the signal that this thread waits for: it is passed on.
  NodeService service(options.node_id, plugin, [&system] {
    if (!system.Sleep(Millis(0))) ::kill(::getpid(), SIGTERM);
  });
  const auto server = Serve(options.endpoint, identity, service);
  if (!server.ok()) return Complain(server.error());
  system.Log("listens at " + options.endpoint);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  int signal = 0;
  ::sigwait(&signals, &signal);
  return 0;
}

}  // namespace
}  // namespace plugpull::csi

int main(int argc, char** argv) {
  return plugpull::csi::Run(std::vector<std::string>(argv + 1, argv + argc));
}
