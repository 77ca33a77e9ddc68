// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/agents/agent_main.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <utility>

#include "vm/guest/agents/agent.h"
#include "vm/guest/agents/config.h"
#include "vm/guest/agents/linux_system.h"

namespace plugpull::agents {
namespace {

using Verb = CommandLine::Verb;

constexpr std::pair<std::string_view, Verb> kVerbs[] = {
    {"run", Verb::kRun},         {"settle", Verb::kSettle}, {"once", Verb::kOnce},
    {"unmount", Verb::kUnmount}, {"reset", Verb::kReset},   {"status", Verb::kStatus}};

Result<Config> LoadConfig(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.empty()) return UserError(fmt::format("cannot read {}, or it is empty", path));
  auto config = ParseConfig(text);
  if (!config.ok()) return WithContext(std::move(config).error(), path);
  return config;
}

uint64_t RandomSeed() {
  uint64_t seed = 1;
  (void)!::getrandom(&seed, sizeof seed, 0);
  return seed;
}

int ExitStatusOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAllMounted:
      return kExitMounted;
    case Outcome::kGivenUp:
      return kExitGivenUp;
    case Outcome::kUnsettled:
      return kExitUnsettled;
    case Outcome::kBusy:
      return kExitBusy;
  }
  return kExitTrouble;
}

// The volumes that were named, or all.
Result<std::vector<const Volume*>> Chosen(const Config& config,
                                          const std::vector<std::string>& serials) {
  std::vector<const Volume*> chosen;
  for (const auto& serial : serials) {
    const auto found = std::ranges::find(config.volumes, serial, &Volume::serial);
    if (found == config.volumes.end()) {
      return UserError(fmt::format("the configuration has no volume {}", serial));
    }
    chosen.push_back(&*found);
  }
  if (!serials.empty()) return chosen;
  // Last first: what is mounted inside another volume goes before it.
  for (auto it = config.volumes.rbegin(); it != config.volumes.rend(); ++it) {
    chosen.push_back(&*it);
  }
  return chosen;
}

Result<Outcome> Work(const CommandLine& command, const Config& config, Agent& agent,
                     System& system) {
  if (command.verb == Verb::kStatus) {
    PP_ASSIGN_OR_RETURN(const auto lines, agent.Describe());
    for (const auto& line : lines) std::printf("%s\n", line.c_str());
    return Outcome::kAllMounted;
  }
  if (command.verb == Verb::kUnmount || command.verb == Verb::kReset) {
    PP_ASSIGN_OR_RETURN(const auto volumes, Chosen(config, command.serials));
    Outcome worst = Outcome::kAllMounted;
    for (const Volume* volume : volumes) {
      if (command.verb == Verb::kReset) {
        PP_RETURN_IF_ERROR(agent.Reset(*volume));
        continue;
      }
      PP_ASSIGN_OR_RETURN(const Outcome outcome, agent.Unmount(*volume));
      system.Log(fmt::format(
          "{} {} on {}", volume->serial,
          outcome == Outcome::kBusy ? "is busy and stays mounted" : "is not mounted any more",
          volume->target));
      if (outcome == Outcome::kBusy) worst = outcome;
    }
    return worst;
  }
  PP_RETURN_IF_ERROR(agent.Start());
  return command.verb == Verb::kOnce ? agent.Pass() : agent.Run(command.verb == Verb::kSettle);
}

}  // namespace

std::string Usage(std::string_view program) {
  return fmt::format(
      "usage: {} --config FILE COMMAND\n"
      "  run                 keep all volumes mounted until told to end (SIGTERM, SIGINT)\n"
      "  settle              the same, until each is mounted or given up\n"
      "  once                look once, and do what is due\n"
      "  unmount [SERIAL...] unmount, and keep unmounted until reset\n"
      "  reset [SERIAL...]   forget what was given up or unmounted\n"
      "  status              what is remembered of each volume\n"
      "exit status: 0 as it should be, 1 given up, 2 usage, 3 trouble, 4 waiting, 5 busy\n",
      program);
}

Result<CommandLine> ParseCommandLine(const std::vector<std::string>& words) {
  CommandLine command;
  bool has_verb = false;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--config") {
      if (++i == words.size()) return UserError("--config needs a file");
      command.config = words[i];
      continue;
    }
    if (has_verb) {
      command.serials.push_back(words[i]);
      continue;
    }
    const auto found = std::ranges::find(kVerbs, words[i],
                                         [](const auto& verb) { return std::string(verb.first); });
    if (found == std::end(kVerbs)) return UserError(fmt::format("unknown word \"{}\"", words[i]));
    command.verb = found->second;
    has_verb = true;
  }
  if (!has_verb) return UserError("the command is missing");
  if (command.config.empty()) return UserError("--config is missing");
  if (!command.serials.empty() && command.verb != Verb::kUnmount && command.verb != Verb::kReset) {
    return UserError("only unmount and reset take serials");
  }
  return command;
}

int RunAgent(const std::string& program, const std::vector<std::string>& words,
             const Decisions& decisions) {
  const auto complain = [&](const Error& error, int status) {
    std::fprintf(stderr, "%s: %s\n", program.c_str(), error.ToString().c_str());
    return status;
  };
  const auto command = ParseCommandLine(words);
  if (!command.ok()) {
    complain(command.error(), kExitUsage);
    std::fputs(Usage(program).c_str(), stderr);
    return kExitUsage;
  }
  const auto config = LoadConfig(command->config);
  if (!config.ok()) return complain(config.error(), kExitUsage);
  LinuxSystem system(program, config->state_folder, config->alert_file);
  Agent agent(program, *config, decisions, system, config->seed != 0 ? config->seed : RandomSeed());
  const auto outcome = Work(*command, *config, agent, system);
  if (outcome.ok()) return ExitStatusOf(*outcome);
  const bool user = outcome.error().code == ErrorCode::kUser;
  return complain(outcome.error(), user ? kExitUsage : kExitTrouble);
}

}  // namespace plugpull::agents
