// SPDX-License-Identifier: Apache-2.0
// Whatever the text, loading ends, and ends in a scenario or in diagnostics with places in it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "framework/base/prng.h"
#include "framework/os/file.h"
#include "framework/scenario/load.h"
#include "framework/scenario/plan.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {
namespace {

constexpr uint64_t kSeed = 20240229;

std::string ReadScenario(const std::string& name) {
  Result<std::string> text =
      os::ReadFile(std::string(PLUGPULL_SOURCE_DIR) + "/scenarios/" + name, kScenarioBytesMax);
  PP_CHECK(text.ok());
  return *std::move(text);
}

void ExpectSoundOutcome(const std::string& text) {
  const LoadOutcome outcome = LoadScenarioText(text, "f");
  ASSERT_EQ(outcome.ok(), outcome.diagnostics.empty()) << text;
  const auto lines = static_cast<uint32_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  for (const Diagnostic& diagnostic : outcome.diagnostics) {
    ASSERT_FALSE(diagnostic.message.empty()) << text;
    ASSERT_TRUE(IsUtf8(diagnostic.message)) << text;
    ASSERT_LE(diagnostic.at.line, lines) << text;
    ASSERT_LE(diagnostic.at.column, text.size() + 1) << text;
    // Only the summary at the end of a long list is about no place.
    if (diagnostic.at.line == 0) {
      ASSERT_EQ(&diagnostic, &outcome.diagnostics.back()) << text;
    }
  }
  // What loads is valid, and what is valid expands.
  if (outcome.ok()) {
    const auto plans = ExpandPlans(outcome.loaded->scenario);
    ASSERT_TRUE(plans.ok()) << text << plans.error().ToString();
  }
}

TEST(ScenarioFuzzTest, AScenarioCutAtAnyByteIsReadSoundly) {
  for (const char* name : {"quickstart.textproto", "ext4/command_marks.textproto"}) {
    const std::string text = ReadScenario(name);
    for (size_t length = 0; length < text.size(); ++length) {
      ASSERT_NO_FATAL_FAILURE(ExpectSoundOutcome(text.substr(0, length))) << length;
    }
  }
}

// Tokens of a text, so that mutations stay close to the language.
std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i + 1;
    const auto is_word = [&](size_t k) {
      return std::isalnum(static_cast<unsigned char>(text[k])) != 0 || text[k] == '_';
    };
    while (is_word(i) && end < text.size() && is_word(end)) ++end;
    words.push_back(text.substr(i, end - i));
    i = end;
  }
  return words;
}

TEST(ScenarioFuzzTest, MutatedScenariosAreReadSoundly) {
  constexpr int kRounds = 6000;
  const std::vector<std::string> all =
      Words(ReadScenario("quickstart.textproto") + ReadScenario("ext4/mount_options.textproto"));
  const std::vector<std::string> extra = {
      "{",  "}",  "[",   "]",    "<",        ">",   ":",
      "\"", "'",  "-1",  "#",    "0x",       "1e9", "99999999999999999999",
      "\t", "\n", "\\0", "\xff", "\xc3\xa4", "/*",  ",",
      ";"};
  Prng prng(kSeed);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::string> words = all;
    const uint64_t changes = prng.Between(1, 6);
    for (uint64_t i = 0; i < changes; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(prng.Below(words.size()));
      switch (prng.Below(4)) {
        case 0:
          words.erase(words.begin() + at);
          break;
        case 1:
          words.insert(words.begin() + at, extra[prng.Below(extra.size())]);
          break;
        case 2:
          words[static_cast<size_t>(at)] = all[prng.Below(all.size())];
          break;
        default:
          std::swap(words[static_cast<size_t>(at)], words[prng.Below(words.size())]);
      }
    }
    std::string text;
    for (const std::string& word : words) text += word;
    ASSERT_NO_FATAL_FAILURE(ExpectSoundOutcome(text)) << "round " << round << ", seed " << kSeed;
  }
}

TEST(ScenarioFuzzTest, RandomBytesAreReadSoundly) {
  Prng prng(kSeed + 1);
  for (int round = 0; round < 2000; ++round) {
    std::string text(prng.Below(200), '\0');
    for (char& c : text) c = static_cast<char>(prng.Between(round % 2 == 0 ? 1 : 32, 126));
    ASSERT_NO_FATAL_FAILURE(ExpectSoundOutcome(text)) << "round " << round;
  }
}

}  // namespace
}  // namespace plugpull::scenario
