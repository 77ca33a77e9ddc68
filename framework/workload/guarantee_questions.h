// SPDX-License-Identifier: Apache-2.0
// Questions about a power cut that a trace puts: at which cuts one is open, and what a file was
// before and after the operation that it is about. Nothing here is promised by a file system; what
// is promised is obligations.h. Any workload puts some; the `guarantees` one puts many.
//
// A question is open from the moment that its operation may have begun, provided that what was
// there before had been made durable, until a sync makes the operation durable or another one
// touches the file or the name. Derived up to the first operation that failed or has no result.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/proto/workload.pb.h"
#include "framework/workload/history.h"

namespace plugpull::workload {

struct GuaranteeQuestion {
  enum class Kind : uint8_t {
    kRenameSynced,    // a durable file was renamed over another durable one
    kRenameUnsynced,  // a file that was not durable was renamed over a durable one
    kAppend,          // to a durable file, at its end, and not synced
    kOverwrite,       // of bytes of a durable file, and not synced
  };
  Kind kind = Kind::kAppend;
  std::string path;              // as in Operation.path
  uint64_t change = 0;           // the operation
  uint64_t durable_at = 0;       // sync that made durable what was there before
  uint64_t settled_at = kNever;  // sync that made the change durable
  uint64_t ends_at = kNever;     // next operation on the file or the name
  // What the path stood for before and after the change.
  uint64_t file_before = 0;
  uint64_t file_after = 0;
  ContentMap before;
  ContentMap after;

  bool IsOpen(const ObligationKey& key) const {
    return durable_at < key.ended_count && change < key.begun_count &&
           settled_at >= key.ended_count && ends_at >= key.begun_count;
  }
};

// In the order of their operations. A user error when the trace is damaged.
Result<std::vector<GuaranteeQuestion>> QuestionsOf(const WorkloadTrace& trace);

}  // namespace plugpull::workload
