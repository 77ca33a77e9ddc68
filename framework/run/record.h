// SPDX-License-Identifier: Apache-2.0
// From a plan to a recording: boots a guest, carries out the steps, and keeps what was seen.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/run/guest_image.h"
#include "framework/run/workdir.h"
#include "framework/scenario/plan.h"
#include "vm/machine.h"

namespace plugpull::run {

inline constexpr char kVersion[] = "0.1.0";  // of plugpull

struct RecordOptions {
  std::string accelerator = "auto";  // "auto", "kvm" or "tcg"
  std::string place;                 // below the workdir; Workdir::PlaceOf
  std::string scenario_path;         // as given, for reproduce commands
  std::string agent_path;            // of a definition that was applied; the same
  unsigned jobs = 1;                 // threads of a search for a crash state
  // What is going on, a line each; called from the recording thread.
  std::function<void(const std::string& what)> progress;
  vm::MachineFactory start_machine;  // empty: QEMU
  std::optional<GuestImage> image;   // empty: what the plan asks for, fetched and built
};

// Records one plan into the workdir and returns the recording's folder; with power cuts, that of
// the first boot, the others being beside it (Workdir::BootRecording). Must be called from a thread
// that lives until it returns (QEMU dies with the thread that started it). On failure there is no
// recording of the boot that failed, and none behind it; the console is in the workdir's failed
// folder, and the message says so.
Result<std::string> RecordPlan(const scenario::Plan& plan, const Workdir& workdir,
                               const RecordOptions& options);

// Sets up the plan's disks and layers in a guest whose console is this terminal, opens a shell
// there, and waits for its end.
Status OpenGuestShell(const scenario::Plan& plan, const RecordOptions& options);

}  // namespace plugpull::run
