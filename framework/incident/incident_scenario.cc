// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/incident_scenario.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/text_format.h>

#include <algorithm>

#include "framework/incident/agent_steps.h"
#include "framework/incident/scan.h"
#include "framework/incident/words.h"

namespace plugpull::incident {
namespace {

constexpr size_t kNameMax = 64;
constexpr size_t kSummaryMax = 200;
constexpr size_t kCommentColumns = 96;

// Mount options that mean the same on any disk, and which go together with a writing workload.
// Source: Documentation/admin-guide/ext4.rst; tried on 6.1.
bool IsPortable(const std::string& option) {
  for (const char* one :
       {"data=ordered",      "data=writeback", "data=journal",   "barrier",       "nobarrier",
        "barrier=0",         "barrier=1",      "delalloc",       "nodelalloc",    "lazytime",
        "nolazytime",        "noatime",        "nodiratime",     "relatime",      "discard",
        "nodiscard",         "dioread_lock",   "dioread_nolock", "auto_da_alloc", "noauto_da_alloc",
        "errors=remount-ro", "errors=continue"}) {
    if (option == one) return true;
  }
  return option.starts_with("commit=") && option.size() <= 10 &&
         std::all_of(option.begin() + 7, option.end(), IsDigit) && option.size() > 7;
}

// What an option decides; two options that decide one thing cannot stand together.
std::string Subject(const std::string& option) {
  std::string subject = option.substr(0, option.find('='));
  if (subject.starts_with("no") && subject != "noatime" && subject != "nodiratime") {
    subject = subject.substr(2);
  }
  return subject.starts_with("dioread") ? "dioread" : subject;
}

std::string ScenarioName(const std::string& device) {
  std::string name = "incident_";
  for (const char c : device) {
    if (c >= 'A' && c <= 'Z') {
      name += static_cast<char>(c - 'A' + 'a');
    } else {
      name += IsDigit(c) || IsLetter(c) ? c : '_';
    }
  }
  return name.substr(0, kNameMax);
}

void AddCheck(bool unordered, Scenario& scenario) {
  Check* check = scenario.add_check();
  check->set_disk(kScenarioDisk);
  if (!unordered) check->add_enumerate()->mutable_journal_guided();
  check->add_enumerate()->mutable_prefix();
  check->add_enumerate()->mutable_lose_one();
  check->add_enumerate()->mutable_lose_subset();
  check->set_max_states(1500);
  check->add_oracle(FSCK);
  check->add_oracle(CONTENT);
  Expect* expect = scenario.mutable_expect();
  if (unordered) {
    expect->add_found(METADATA_INCONSISTENT);
    expect->add_found(JOURNAL_REFUSED);
    expect->add_found(DURABILITY_LOST);
  } else {
    expect->set_nothing(true);
  }
}

void AddWorkload(const std::vector<std::string>& options, Scenario& scenario) {
  MkfsStep* mkfs = scenario.add_step()->mutable_mkfs();
  mkfs->set_disk(kScenarioDisk);
  mkfs->add_option("-b 1024");
  mkfs->add_option("-J size=1");
  MountStep* mount = scenario.add_step()->mutable_mount();
  mount->set_disk(kScenarioDisk);
  mount->set_at(kScenarioMountPoint);
  for (const std::string& option : options) mount->add_option(option);
  WorkloadStep* workload = scenario.add_step()->mutable_workload();
  workload->set_at(kScenarioMountPoint);
  workload->set_seed(7);
  workload->mutable_files()->set_count(1600);
  workload->mutable_files()->set_size_kib_max(24);
  workload->mutable_files()->set_sync(FilesWorkload::FSYNC_EACH);
  scenario.add_step()->mutable_unmount()->set_at(kScenarioMountPoint);
}

// Lines of a comment, broken at spaces.
std::string Comment(const std::string& text) {
  std::string out;
  std::string line = "#";
  Scan scan(text);
  while (!scan.empty()) {
    const std::string_view word = scan.TakeWord();
    if (line.size() > 1 && line.size() + 1 + word.size() > kCommentColumns) {
      out += line + "\n";
      line = "#";
    }
    line += fmt::format(" {}", word);
  }
  return out + line + "\n";
}

std::string SizeWords(const DeviceReport& report, const Scenario& scenario) {
  const uint32_t mib = scenario.disk(0).size_mib();
  if (!report.size_bytes) {
    return fmt::format("The log does not say how large the disk was; here it has {} MiB.", mib);
  }
  return fmt::format("The disk in the field had {} MiB; here it has {}.", *report.size_bytes >> 20,
                     mib);
}

std::string DoneWords(const IncidentScenario& made) {
  if (made.file_name.empty()) {
    return "What is done: a disk with the field's file system and mount options, files that are "
           "written and synced, the power cut at every place, and every state judged.";
  }
  if (made.file_name == "first_format.sh") {
    return "What is done: a blank disk is formatted, mounted, unmounted, unplugged and plugged in "
           "again. Variant field: as the log shows. Variant reference: by the reference agent.";
  }
  return "What is done: an agent does to a damaged disk what the log shows (variant field), and "
         "must be found out; the reference agent (variant reference) must give up and stay silent. "
         "Where mounts succeeded, they do so by a copy of the superblock that the damage has "
         "spared, so that the disk stays as it is.";
}

}  // namespace

Result<IncidentScenario> MakeScenario(const DeviceReport& report) {
  if (report.fs == FileSystem::kXfs || report.fs == FileSystem::kBtrfs) {
    return UserError(fmt::format("{} has {}, and scenarios know ext4 only", report.device,
                                 FileSystemName(report.fs)));
  }
  IncidentScenario made;
  Scenario& scenario = made.scenario;
  scenario.set_name(ScenarioName(report.device));
  const bool failed = report.attempts > report.mounts;
  const char* kind = report.verdict.loop   ? "a retry loop"
                     : report.first_format ? "a first format"
                     : failed              ? "mounts that failed"
                                           : "power cuts under the mount options of the field";
  scenario.set_summary(
      fmt::format("{}, as on {} in the field", kind, report.device).substr(0, kSummaryMax));
  scenario.add_label("incident");
  Disk* disk = scenario.add_disk();
  disk->set_name(kScenarioDisk);
  const uint64_t mib = report.size_bytes.value_or(Mebibytes(kScenarioDiskMib).value) >> 20;
  disk->set_size_mib(static_cast<uint32_t>(std::clamp<uint64_t>(mib, 16, kScenarioDiskMib)));

  std::vector<std::string> options;
  std::vector<std::string> subjects;
  bool unordered = false;
  for (const std::string& option : report.options) {
    const std::string subject = Subject(option);
    if (!IsPortable(option) || std::count(subjects.begin(), subjects.end(), subject) > 0) {
      made.left_out.push_back(option);
      continue;
    }
    subjects.push_back(subject);
    options.push_back(option);
    unordered |= option == "nobarrier" || option == "barrier=0";
  }
  // ext4 refuses the two together.
  const auto journalled = std::count(options.begin(), options.end(), "data=journal");
  if (journalled > 0 && std::erase(options, "delalloc") > 0) made.left_out.emplace_back("delalloc");
  if (report.first_format && !report.verdict.loop) {
    AddFirstFormat(report, options, made);
  } else if (failed) {
    AddFailingAgent(report, options, made);
  } else {
    disk->add_layer()->mutable_log_writes();
    AddWorkload(options, scenario);
    AddCheck(unordered, scenario);
  }
  return made;
}

Result<std::string> ScenarioText(const DeviceReport& report, const IncidentScenario& made) {
  std::string body;
  if (!google::protobuf::TextFormat::PrintToString(made.scenario, &body)) {
    return InternalError("the scenario of an incident cannot be printed");
  }
  std::string text =
      "# proto-file: framework/proto/scenario.proto\n"
      "# proto-message: plugpull.Scenario\n#\n";
  text +=
      Comment("Made by `plugpull incident import` from a kernel log of the field. What it says:");
  text += "#\n" + Comment(report.summary) + "#\n";
  text += Comment(DoneWords(made));
  text += Comment(SizeWords(report, made.scenario));
  for (const std::string& words : made.differs) text += Comment(words);
  if (!made.left_out.empty()) {
    text += Comment(fmt::format("Mount options of the field that were left out: {}.",
                                fmt::join(made.left_out, ", ")));
  }
  return text + body;
}

}  // namespace plugpull::incident
