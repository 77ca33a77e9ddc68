// SPDX-License-Identifier: Apache-2.0
// From a recording to verdicts.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "framework/base/result.h"
#include "framework/proto/verdict.pb.h"
#include "framework/recording/recording.h"
#include "framework/run/guest_image.h"
#include "vm/machine.h"

namespace plugpull::run {

struct CheckOptions {
  unsigned jobs = 1;
  bool e2fsck_only = false;            // e2fsck recovers every state and judges every image: slow
  std::optional<uint32_t> max_states;  // instead of every check's
  std::optional<uint64_t> seed;        // instead of the recording's; draws other states
  // Of the guest that KERNEL_MOUNT, COMMAND and nested cuts need.
  std::string accelerator = "auto";
  vm::MachineFactory start_machine;  // empty: QEMU
  std::optional<GuestImage> image;   // empty: what the scenario asks for, fetched and built
  std::function<void(const std::string& what, uint64_t done, uint64_t total)> progress;
};

// Every check of the recording's scenario; of the first boot of a scenario with power cuts, also
// those of the later boots, beside it (Workdir::BootRecording). What goes wrong is in the report,
// as an error. Checks with `nested` write recordings of recoveries beside the folder
// (Workdir::RecoveriesFolder).
RunReport CheckRecording(const std::string& folder, const CheckOptions& options);

// A log that was not recorded by plugpull, with the fsck oracle alone. `name` is shown.
RunReport CheckLogFile(const std::string& log, const std::string& base, bool scan_past_end,
                       const Check& check, const CheckOptions& options);

// Fills in what follows from the findings: expected ones, missed ones, as_expected.
void Conclude(RunReport& report);

// The command that runs one variant of a scenario again; empty without a path.
std::string RunCommand(const std::string& scenario_path, const std::string& name,
                       const std::string& variant, const std::string& kernel, uint64_t seed,
                       const std::string& agent_path = {});

// A text as one word of a shell command.
std::string ShellWord(const std::string& text);

// A log file as the words of a command that takes one in place of a recording.
std::string LogFileWords(const std::string& log, const std::string& base, bool scan_past_end);

// The command that writes the image of a state. `source_words`: the recording as a shell word, or
// LogFileWords.
std::string MaterializeCommand(const std::string& source_words, const std::string& id);

}  // namespace plugpull::run
