// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/csi/mock_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "framework/base/rpc_code.h"

namespace plugpull::csi {
namespace {

constexpr size_t kRulesMax = 1000;
constexpr uint64_t kDelayMsMax = 3'600'000;

bool ToNumber(std::string_view text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// "3", "1-3", "2-".
bool ToRange(const std::string& text, uint64_t& from, uint64_t& to) {
  const size_t dash = text.find('-');
  if (!ToNumber(text.substr(0, dash), from) || from == 0) return false;
  if (dash == std::string::npos) {
    to = from;
    return true;
  }
  if (dash + 1 == text.size()) return true;
  return ToNumber(text.substr(dash + 1), to) && to >= from;
}

}  // namespace

Result<MockScript::Rule> MockScript::ParseRule(const std::vector<std::string>& words) {
  if (words.size() < 4) {
    return UserError("METHOD VOLUME CALLS CODE is expected, then a delay in ms and a message");
  }
  Rule rule{words[0], words[1], 1, UINT64_MAX, {}};
  if (!ToRange(words[2], rule.from, rule.to)) {
    return UserError(fmt::format("\"{}\" does not say which calls; 3, 1-3 or 2- do", words[2]));
  }
  rule.answer.abnormal = words[3] == "ABNORMAL";
  const auto code = RpcCodeOf(rule.answer.abnormal ? "OK" : words[3]);
  if (!code) return UserError(fmt::format("\"{}\" is no status of gRPC, nor ABNORMAL", words[3]));
  rule.answer.code = *code;
  uint64_t delay_ms = 0;
  if (words.size() > 4 && (!ToNumber(words[4], delay_ms) || delay_ms > kDelayMsMax)) {
    return UserError(fmt::format("\"{}\" is no delay of at most {} ms", words[4], kDelayMsMax));
  }
  rule.answer.delay = Millis(delay_ms);
  for (size_t i = 5; i < words.size(); ++i) {
    rule.answer.message += (i == 5 ? "" : " ") + words[i];
  }
  return rule;
}

Result<MockScript> MockScript::Parse(std::string_view text) {
  MockScript script;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    std::istringstream parts(line.substr(0, line.find('#')));
    std::vector<std::string> words;
    for (std::string word; parts >> word;) words.push_back(word);
    if (words.empty()) continue;
    if (words[0] == "name" && words.size() == 2) {
      script.name_ = words[1];
    } else if (words[0] == "without" && words.size() == 2) {
      script.without_.insert(words[1]);
    } else {
      auto rule = ParseRule(words);
      if (!rule.ok()) {
        return WithContext(std::move(rule).error(), fmt::format("line {}", number));
      }
      script.rules_.push_back(*std::move(rule));
    }
    if (script.rules_.size() > kRulesMax) {
      return UserError(fmt::format("there are more than {} rules", kRulesMax));
    }
  }
  return script;
}

MockAnswer MockScript::Next(const std::string& method, const std::string& volume) {
  const uint64_t count = ++counts_[{method, volume}];
  const auto rule = std::ranges::find_if(rules_, [&](const Rule& one) {
    return one.method == method && (one.volume == "*" || one.volume == volume) &&
           count >= one.from && count <= one.to;
  });
  return rule == rules_.end() ? MockAnswer() : rule->answer;
}

}  // namespace plugpull::csi
