// SPDX-License-Identifier: Apache-2.0
// plugpull-broken-agent --defect NAME ...: the reference agent with one decision replaced.
#include <cstdio>
#include <string>
#include <vector>

#include "vm/guest/agents/agent_main.h"
#include "vm/guest/agents/defects.h"

namespace {

constexpr char kProgram[] = "plugpull-broken-agent";

int List(std::FILE* out) {
  for (const auto& defect : plugpull::agents::Defects()) {
    std::fprintf(out, "%-24s%s\n", std::string(defect.name).c_str(),
                 std::string(defect.summary).c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (words == std::vector<std::string>{"--list"}) return List(stdout);
  if (words == std::vector<std::string>{"--help"}) {
    std::printf("usage: %s --list\n       %s --defect NAME ..., and then as\n%s", kProgram,
                kProgram, plugpull::agents::Usage("plugpull-reference-agent").c_str());
    return 0;
  }
  const auto* defect = words.size() >= 2 && words[0] == "--defect"
                           ? plugpull::agents::FindDefect(words[1])
                           : nullptr;
  if (defect == nullptr) {
    std::fprintf(stderr, "%s: begin with --defect and one of these:\n", kProgram);
    List(stderr);
    return plugpull::agents::kExitUsage;
  }
  words.erase(words.begin(), words.begin() + 2);
  return plugpull::agents::RunAgent(kProgram, words, *defect->make());
}
