// SPDX-License-Identifier: Apache-2.0
// Answers the questions that a workload puts about a power cut: see
// framework/workload/guarantee_questions.h. An observation, not a judgement: "no" is what the
// documentation of ext4 leads one to expect of most of them, under most mount options.
//
//   rename     "no" when the name shows anything but the whole old file or the whole new one:
//              nothing, another size, bytes that belong to neither
//   append     the old bytes and the old size are the content oracle's affair: where they are not
//              there, nothing is asked. "no" to APPEND_SOUND when a byte behind the old end is not
//              the appended one (zeroes, stale bytes), or the file is longer than it ever was; "no"
//              to APPEND_WHOLE also when a part of what was appended is missing
//   overwrite  "no" when some of the bytes that one write replaced are old and some are new. Where
//              one is neither, or the size is another, nothing is asked.
// A change is shown when the state has something else than the whole old file.
#pragma once

#include <vector>

#include "framework/oracle/file_system_view.h"
#include "framework/oracle/guarantee_answers.h"
#include "framework/workload/guarantee_questions.h"

namespace plugpull::oracle {

// Uses `view` from the calling thread only.
GuaranteeAnswers JudgeGuarantees(const std::vector<workload::GuaranteeQuestion>& questions,
                                 const workload::ObligationKey& key, FileSystemView& view);

// What JudgeGuarantees may be asked at a cut, whatever it finds there.
GuaranteeSet OpenGuarantees(const std::vector<workload::GuaranteeQuestion>& questions,
                            const workload::ObligationKey& key);

}  // namespace plugpull::oracle
