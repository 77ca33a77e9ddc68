// SPDX-License-Identifier: Apache-2.0
// One kernel log in the forms in which people send it. Written from the formats' descriptions with
// the C library's calendar; shares nothing with the reader.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace plugpull {

struct KernelMessage {
  int64_t us = 0;  // since the machine started
  int priority = 6;
  std::string text;
};

// Each line of a plain log, `step_us` after the one before.
std::vector<KernelMessage> WithTimes(const std::string& plain, int64_t step_us);

// By a name for the form. Times are whole seconds where the form has no more; the machine started
// so that the first message falls on a whole minute, shortly before midnight.
std::map<std::string, std::string> AllForms(const std::vector<KernelMessage>& messages);

}  // namespace plugpull
