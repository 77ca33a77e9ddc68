// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/mount_options.h"

#include <fmt/format.h>

#include <array>

#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

// Two ways of saying the same, and what says the opposite.
struct Choice {
  std::string_view option;
  std::string_view subject;
  bool on;
};
constexpr std::array<Choice, 16> kChoices = {{
    {"barrier", "barriers", true},
    {"barrier=1", "barriers", true},
    {"nobarrier", "barriers", false},
    {"barrier=0", "barriers", false},
    {"delalloc", "delayed allocation", true},
    {"nodelalloc", "delayed allocation", false},
    {"rw", "writing", true},
    {"ro", "writing", false},
    {"discard", "discards", true},
    {"nodiscard", "discards", false},
    {"dioread_lock", "locked direct reads", true},
    {"dioread_nolock", "locked direct reads", false},
    {"auto_da_alloc", "allocation at replacement", true},
    {"noauto_da_alloc", "allocation at replacement", false},
    {"lazytime", "lazy times", true},
    {"nolazytime", "lazy times", false},
}};

const Choice* FindChoice(const std::string& option) {
  for (const Choice& choice : kChoices) {
    if (choice.option == option) return &choice;
  }
  return nullptr;
}

constexpr std::string_view kDataModes[] = {"data=ordered", "data=writeback", "data=journal"};

}  // namespace

std::vector<std::string> SplitMountOptions(std::string_view text) {
  std::vector<std::string> options;
  for (;;) {
    const size_t comma = text.find(',');
    options.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return options;
    text.remove_prefix(comma + 1);
  }
}

std::string MountOptionConflict(const std::string& first, const std::string& second) {
  const Choice* a = FindChoice(first);
  const Choice* b = FindChoice(second);
  if (a != nullptr && b != nullptr && a->subject == b->subject && a->on != b->on) {
    return fmt::format("{} contradicts {}: one switches {} on, the other off", Quoted(second),
                       Quoted(first), a->subject);
  }
  if (first.starts_with("data=") && second.starts_with("data=") && first != second) {
    return fmt::format("{} contradicts {}: a mount has one data mode", Quoted(second),
                       Quoted(first));
  }
  if ((first == "data=journal" && second == "delalloc") ||
      (first == "delalloc" && second == "data=journal")) {
    return fmt::format("{} contradicts {}: ext4 refuses data=journal with delalloc (EINVAL)",
                       Quoted(second), Quoted(first));
  }
  return "";
}

std::string MountOptionMistake(const std::string& option) {
  if (option.empty()) return "a mount option is empty; leave it out";
  if (option.find_first_of(" \t\n") != std::string::npos) {
    return fmt::format(
        "mount option {} has white space in it; write each option in a field of "
        "its own",
        Quoted(option));
  }
  if (!option.starts_with("data=")) return "";
  for (const std::string_view mode : kDataModes) {
    if (option == mode) return "";
  }
  return fmt::format(
      "mount option {} is no data mode; allowed are data=ordered, data=writeback, "
      "data=journal",
      Quoted(option));
}

}  // namespace plugpull::scenario
