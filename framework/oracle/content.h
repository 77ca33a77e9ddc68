// SPDX-License-Identifier: Apache-2.0
// The content oracle: whether what a workload was told is durable is there after recovery. What
// must be there is framework/workload/obligations.h; this compares it with what is.
//
// It never accuses a file system of losing what it never promised. Bytes are compared in pieces of
// a cell (32 bytes): a sector that was caught between two writes, both of them allowed, passes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/oracle/file_system_view.h"
#include "framework/oracle/guarantee_answers.h"
#include "framework/oracle/outcome.h"
#include "framework/workload/content.h"
#include "framework/workload/obligations.h"

namespace plugpull::oracle {

inline constexpr size_t kContentViolationsMax = 8;  // reported for one state; all are counted

struct ContentViolation {
  enum class Kind : uint8_t {
    kNameMissing,      // a durable name is not there
    kNameResurrected,  // a name whose removal was durable is there
    kWrongType,        // a folder where a file must be, or the other way round
    kWrongSize,        // of a file whose size was durable
    kBytesLost,        // durable bytes hold something else
    kFileLost,         // a durable file is under none of the names that it may have
    kUnreadable,       // what must be there cannot be read
  };
  // What was found in place of durable bytes.
  enum class Found : uint8_t {
    kNothing,  // not about bytes
    kZeroes,
    kOtherVersion,  // of the same file and place
    kMisplaced,     // bytes of the same file from another place
    kForeign,       // bytes of another file
    kUnrecognised,
  };
  Kind kind = Kind::kNameMissing;
  std::string path;                         // with a leading slash
  uint64_t file = 0;                        // number of the file; 0 for names without one
  uint64_t offset = 0;                      // kBytesLost: of the first such byte
  std::vector<uint64_t> expected_versions;  // kBytesLost: the durable one first; 0 is zeroes
  Found found = Found::kNothing;
  std::optional<workload::ContentTag> tag;  // of what was found, where it has one
  uint64_t sync_operation = 0;              // what had made it durable
  // "/d3/f80: byte 4096 holds zeroes; fsync (operation 311) had made version 298 durable"
  std::string evidence;
};

struct ContentVerdict {
  Outcome outcome = Outcome::kHolds;
  std::string evidence;  // the first violation and how many more, or what could not be looked at
  std::vector<ContentViolation> violations;  // the first kContentViolationsMax
  uint64_t violation_count = 0;
  // How much was looked at.
  uint64_t names_checked = 0;
  uint64_t files_checked = 0;
  uint64_t bytes_checked = 0;
  // FSYNC_NAME, FSYNC_SIZE, FSYNC_DATA: which of them something durable was asked about, which is
  // violated, and which is not known for a name that cannot be looked up. Of a file that is not
  // under its name, size and bytes are not asked.
  GuaranteeAnswers answers;
};

// "name missing", "bytes lost" and so on.
const char* ContentViolationName(ContentViolation::Kind kind);

// What was found of files that have not changed since: for states that are judged one after the
// other with obligations of one tracker. One thread.
class ContentMemo {
 public:
  ContentMemo();
  ~ContentMemo();

 private:
  friend class ContentJudge;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Compares what must be there with what is. An image that cannot be read where something must be
// is a violation; where merely nothing may be, the verdict is unknown unless something else is
// violated. Uses `view` from the calling thread only.
// `memo` may be null.
ContentVerdict JudgeContent(const workload::Obligations& obligations, FileSystemView& view,
                            ContentMemo* memo = nullptr);

// The same at a cut of a trace, for a caller without an ObligationTracker of its own. Unknown when
// the key does not fit the trace.
ContentVerdict JudgeContent(const workload::ObligationIndex& index,
                            const workload::ObligationKey& key, FileSystemView& view);

}  // namespace plugpull::oracle
