// SPDX-License-Identifier: Apache-2.0
#include "framework/oracle/times.h"

#include <fmt/format.h>

#include <string_view>

namespace plugpull::oracle {
namespace {

using workload::TimesQuestion;

std::string InSeconds(int64_t ns) {
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  int64_t seconds = ns / kNsPerSecond;
  int64_t rest = ns % kNsPerSecond;
  if (rest < 0) {
    --seconds;
    rest += kNsPerSecond;
  }
  return fmt::format("{}.{:09}", seconds, rest);
}

// What is wrong with one time; empty: nothing.
std::string Difference(std::string_view name, int64_t before, int64_t after, int64_t found) {
  if (found == after && before != after) return {};
  if (before == after) return fmt::format("{} was left at {} by it", name, InSeconds(after));
  return fmt::format("{} is {}{}, it was {}", name, InSeconds(found),
                     found == before ? " as before" : "", InSeconds(after));
}

std::string WhatIsWrong(const TimesQuestion& question, const InodeTimes& found) {
  std::string wrong;
  if (question.mtime) {
    wrong = Difference("mtime", question.before.mtime_ns, question.after.mtime_ns, found.mtime_ns);
  }
  if (wrong.empty() && question.ctime) {
    wrong = Difference("ctime", question.before.ctime_ns, question.after.ctime_ns, found.ctime_ns);
  }
  if (wrong.empty() && question.atime) {
    wrong = Difference("atime", question.before.atime_ns, question.after.atime_ns, found.atime_ns);
  }
  return wrong;
}

}  // namespace

GuaranteeAnswers JudgeTimes(const std::vector<TimesQuestion>& questions,
                            const workload::ObligationKey& key, FileSystemView& view) {
  GuaranteeAnswers answers;
  for (const TimesQuestion& question : questions) {
    if (!question.IsOpen(key)) continue;
    const auto node = view.Lookup(question.path);
    if (!node.ok()) {
      answers.unknown.Add(question.guarantee);
      continue;
    }
    if (!*node) continue;
    answers.asked.Add(question.guarantee);
    answers.shown.Add(question.guarantee);
    const std::string wrong = WhatIsWrong(question, (*node)->times);
    if (wrong.empty()) continue;
    answers.Break(question.guarantee,
                  fmt::format("/{}: {}; operation {} was the last to set its times, and the "
                              "question is open since operation {}",
                              question.path, wrong, question.change, question.open_from));
  }
  return answers;
}

}  // namespace plugpull::oracle
