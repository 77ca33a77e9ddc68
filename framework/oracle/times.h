// SPDX-License-Identifier: Apache-2.0
// Answers the questions that a workload puts about times: see framework/workload/times_questions.h.
// An observation, not a judgement.
//
//   TIMES_*  "no" when one of the times that operations had set is another one in the recovered
//            inode than it was in the guest, to the nanosecond
//   ATIME_*  "no" when the recovered atime is not the one that the read left, and also when the
//            read had left it as it was
// Where the name is not there nothing is asked: that is the content oracle's affair.
#pragma once

#include <vector>

#include "framework/oracle/file_system_view.h"
#include "framework/oracle/guarantee_answers.h"
#include "framework/workload/times_questions.h"

namespace plugpull::oracle {

// Uses `view` from the calling thread only.
GuaranteeAnswers JudgeTimes(const std::vector<workload::TimesQuestion>& questions,
                            const workload::ObligationKey& key, FileSystemView& view);

}  // namespace plugpull::oracle
