// SPDX-License-Identifier: Apache-2.0
// Entries of a systemd journal, one JSON object a line or in the export form. Of klog.cc.
// Source: "Journal Export Formats" and "Journal JSON Format" of systemd.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "framework/incident/klog.h"
#include "framework/incident/log_input.h"

namespace plugpull::incident {

struct JournalEntry {
  std::string message;
  std::string boot_id;
  Stamp at;
  int priority = -1;
  bool kernel = true;
};
// Null: an entry that could not be used.
using EntrySink = std::function<void(const JournalEntry*)>;

// Of the beginning of a log.
bool LooksLikeExport(std::string_view bytes);
bool LooksLikeJson(std::string_view bytes);
void ReadExport(LogInput& input, const EntrySink& sink);
// Also json-seq, json-sse, and the document of `dmesg -J`.
void ReadJson(LogInput& input, const EntrySink& sink);

}  // namespace plugpull::incident
