// SPDX-License-Identifier: Apache-2.0
// The obligations of one file's size and bytes; obligations.h states the rules.
#pragma once

#include "framework/workload/history.h"
#include "framework/workload/obligations.h"

namespace plugpull::workload {

// What is demanded of a file at a cut before which `ended_events` of its events had ended and
// `begun_events` may have begun. `reuses_freed_blocks`: bytes that a truncate or a removal has
// begun to cut off owe nothing, since their blocks may hold another file's by now (data=writeback:
// ext4_free_blocks in fs/ext4/mballoc.c waits for the commit in the other modes only). Pure.
FileObligation ObligationOf(const FileHistory& history, size_t ended_events, size_t begun_events,
                            bool reuses_freed_blocks);

}  // namespace plugpull::workload
