// SPDX-License-Identifier: Apache-2.0
// The text that `plugpull new` writes.
#include "framework/scenario/catalog.h"
#include "framework/scenario/load.h"
#include "framework/scenario/validate.h"

namespace plugpull::scenario {

namespace {

// @NAME@ stands for the name.
constexpr char kTemplate[] = R"(# proto-file: framework/proto/scenario.proto
# proto-message: plugpull.Scenario
#
# A scenario in protobuf's text format. framework/proto/scenario.proto explains every field, with
# its unit and its default; `plugpull validate FILE` says what is wrong with a file.
name: "@NAME@"
summary: "fsync is kept by ext4 on a disk with a volatile cache"
# Suites choose scenarios by labels.
label: "example"

# One virtual disk. The log_writes layer records every write, in order: power cuts are worked out
# from that log afterwards, as many as you like, without running the guest again.
disk {
  name: "vol"
  size_mib: 64
  layer { log_writes {} }
}

# What happens in the guest, in this order. A small journal, so that it fills up and is written
# back while the workload runs: in a large one that never happens, and little is tested.
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" } }
step { mount { disk: "vol" at: "/data" option: "data=ordered" } }
step { workload { at: "/data" files { count: 300 sync: FSYNC_EACH } } }
step { unmount { at: "/data" } }

# What a power cut may leave behind, and who judges it. This is the default, written out, behind
# journal_guided: it reads the journal of ext4, and loses what that relied on at each cut. Another
# judge, STALE_DATA, sees files that show what the disk held before; it needs
# disk { fill: POISON }.
check {
  disk: "vol"
  enumerate { journal_guided {} max_states: 500 }
  enumerate { prefix { at: EVERY_WRITE } }
  enumerate { lose_one {} }
  enumerate { lose_subset {} }
  oracle: FSCK
  oracle: CONTENT
}

# Whatever is found and not listed here is a failure; so is what is listed and not found. For a
# disk that loses what it should keep, add `layer { drop_barriers {} }` behind log_writes, and list
#   found: METADATA_INCONSISTENT
expect { nothing: true }
)";

}  // namespace

Result<std::string> NewScenarioText(const std::string& name) {
  std::string text = kTemplate;
  const std::string mark = "@NAME@";
  text.replace(text.find(mark), mark.size(), "new");
  LoadOutcome outcome = LoadScenarioText(text, "the new scenario");
  PP_CHECK(outcome.ok());  // a test loads it
  // Judged in the message, where the name cannot end its quotation.
  outcome.loaded->scenario.set_name(name);
  const auto diagnostics = ValidateScenario(outcome.loaded->scenario, "the new scenario");
  if (!diagnostics.empty()) return UserError(diagnostics.front().message);
  text = kTemplate;
  text.replace(text.find(mark), mark.size(), name);
  return text;
}

}  // namespace plugpull::scenario
