// SPDX-License-Identifier: Apache-2.0
// plugpull-reference-agent: how an agent that mounts volumes should behave. See README.md.
#include <cstdio>
#include <string>
#include <vector>

#include "vm/guest/agents/agent_main.h"

int main(int argc, char** argv) {
  constexpr char kProgram[] = "plugpull-reference-agent";
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words == std::vector<std::string>{"--help"}) {
    std::fputs(plugpull::agents::Usage(kProgram).c_str(), stdout);
    return 0;
  }
  return plugpull::agents::RunAgent(kProgram, words, plugpull::agents::Decisions());
}
