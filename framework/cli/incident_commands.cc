// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "framework/cli/commands.h"
#include "framework/cli/progress.h"
#include "framework/cli/report_output.h"
#include "framework/incident/incident.h"
#include "framework/incident/incident_json.h"
#include "framework/incident/incident_scenario.h"
#include "framework/incident/signature.h"
#include "framework/os/file.h"
#include "framework/os/stream.h"
#include "framework/recording/recording.h"
#include "framework/report/json.h"
#include "framework/report/junit.h"
#include "framework/report/summary.h"
#include "framework/report/table.h"
#include "framework/report/text.h"
#include "framework/run/campaign.h"
#include "framework/scenario/load.h"

namespace plugpull::cli {
namespace {

constexpr int kColumns = 100;
constexpr size_t kDevicesShown = 20;
constexpr char kSignatureFile[] = "signature.json";
constexpr char kScenarioFile[] = "scenario.textproto";

// A log as a file or a pipe; "-" is stdin.
class LogFile {
 public:
  static Result<std::unique_ptr<LogFile>> Open(const std::string& path) {
    auto file = std::unique_ptr<LogFile>(new LogFile(path));
    if (path == "-") return file;
    PP_ASSIGN_OR_RETURN(file->fd_, os::OpenForReading(path));
    return file;
  }
  incident::LogInput& input() { return input_; }
  // What was read, if all of it could be.
  template <typename T>
  Result<T> Checked(Result<T> read) const {
    if (!problem_.empty()) return UserError(problem_);
    if (!read.ok()) return WithContext(std::move(read).error(), path_);
    return read;
  }

 private:
  explicit LogFile(const std::string& path)
      : path_(path == "-" ? "stdin" : path),
        input_([this](char* to, size_t size) { return Pull(to, size); }) {}

  size_t Pull(char* to, size_t size) {
    const int fd = fd_.valid() ? fd_.get() : STDIN_FILENO;
    const auto read = os::ReadNext(fd, {reinterpret_cast<uint8_t*>(to), size});
    if (!read.ok()) problem_ = fmt::format("{}: {}", path_, read.error().message);
    const size_t n = read.ok() ? *read : 0;
    taken_ += n;
    if (taken_ <= incident::kKlogBytesMax.value) return n;
    problem_ = fmt::format("{} is longer than {} GiB; cut it to the time in question", path_,
                           incident::kKlogBytesMax.value >> 30);
    return 0;
  }

  std::string path_;
  os::Fd fd_;
  incident::LogInput input_;
  uint64_t taken_ = 0;
  std::string problem_;
};

Result<incident::Incident> Import(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto file, LogFile::Open(path));
  return file->Checked(incident::ReadIncident(file->input()));
}

void PrintWrapped(const std::string& indent, const std::string& text) {
  const int width = kColumns - static_cast<int>(indent.size());
  for (const std::string& line : report::WrapToWidth(report::Printable(text), width)) {
    fmt::print("{}{}\n", indent, line);
  }
}

std::string LoopCell(const incident::DeviceReport& report) {
  if (!report.verdict.loop) return report.gave_up() ? "no, gave up" : "no";
  return fmt::format("{} cycles", report.verdict.loop->whole);
}

void PrintTable(const incident::Incident& incident) {
  using report::Table;
  Table table;
  table.AddColumn("device", Table::Kind::kText);
  table.AddColumn("file system", Table::Kind::kText);
  table.AddColumn("options", Table::Kind::kText);
  for (const char* title : {"attempts", "mounted", "re-plugs", "errors"}) {
    table.AddColumn(title, Table::Kind::kNumber);
  }
  table.AddColumn("loop", Table::Kind::kText);
  table.AddColumn("sure", Table::Kind::kNumber);
  for (size_t i = 0; i < std::min(incident.devices.size(), kDevicesShown); ++i) {
    const auto& one = incident.devices[i];
    table.AddRow({{one.device},
                  {incident::FileSystemName(one.fs)},
                  {fmt::format("{}", fmt::join(one.options, ","))},
                  {fmt::format("{}", one.attempts)},
                  {fmt::format("{}", one.mounts)},
                  {fmt::format("{}", one.re_attachments)},
                  {fmt::format("{}", one.io_errors + one.journal_errors + one.file_system_errors)},
                  {LoopCell(one)},
                  {fmt::format("{:.2f}", one.confidence)}});
  }
  report::Style style;
  style.width = kColumns;
  fmt::print("{}", table.Render(style, 0));
  if (incident.devices.size() > kDevicesShown) {
    fmt::print("and {} more; --json has all of them\n", incident.devices.size() - kDevicesShown);
  }
}

void PrintIncident(const incident::Incident& incident) {
  const incident::KlogSummary& log = incident.log;
  fmt::print("{}, {} lines, {} of the kernel\n", log.form, log.lines, log.records);
  for (const std::string& note : incident.notes) PrintWrapped("  ", note);
  if (incident.devices.empty()) {
    fmt::print("The log says nothing of disks or file systems; no loop.\n");
    return;
  }
  PrintTable(incident);
  for (size_t i = 0; i < std::min(incident.devices.size(), kDevicesShown); ++i) {
    const auto& one = incident.devices[i];
    fmt::print("\n");
    PrintWrapped("", one.summary);
    PrintWrapped(
        "  ", fmt::format("confidence {:.2f}: {}", one.confidence,
                          one.reasons.empty() ? "nothing speaks against it"
                                              : fmt::format("{}", fmt::join(one.reasons, ", "))));
  }
}

// A user error unless the folder is new, or empty.
Status CheckFolder(const std::string& folder) {
  if (!os::Exists(folder)) return OkStatus();
  if (os::IsFolder(folder)) {
    PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(folder));
    if (names.empty()) return OkStatus();
  }
  return UserError(fmt::format(
      "{} is there already and is left as it is; name a new folder with --out", folder));
}

using Files = std::map<std::string, std::string>;  // name to text

Status WriteFiles(const std::string& folder, const Files& files) {
  PP_RETURN_IF_ERROR(os::MakeFolders(folder));
  for (const auto& [name, text] : files) {
    PP_RETURN_IF_ERROR(os::WriteFileAtomic(folder + "/" + name, text));
  }
  return OkStatus();
}

// All files or none: they are written to a folder beside it, which then takes its name.
Status WriteFolder(const std::string& folder, const Files& files) {
  std::string target = folder;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  const std::string temporary = fmt::format("{}.{}.tmp", target, ::getpid());
  if (os::Exists(temporary)) {
    return UserError(fmt::format("{} is in the way; remove it", temporary));
  }
  Status written = WriteFiles(temporary, files);
  if (written.ok()) written = os::Rename(temporary, target);
  if (!written.ok()) (void)os::RemoveAll(temporary);
  return written;
}

// What an incident's folder holds. Without a scenario, where there can be none, the signature is
// still of use; `no_scenario` says why.
Result<Files> FilesOf(const incident::DeviceReport& report, std::string& no_scenario) {
  Files files;
  files[kSignatureFile] = incident::RenderSignature(incident::SignatureOf(report));
  const auto made = incident::MakeScenario(report);
  if (!made.ok()) {
    if (made.error().code != ErrorCode::kUser) return made.error();
    no_scenario = made.error().message;
    return files;
  }
  PP_ASSIGN_OR_RETURN(files[kScenarioFile], incident::ScenarioText(report, *made));
  if (!made->file_name.empty()) files[made->file_name] = made->file_text;
  return files;
}

Result<incident::Signature> SignatureIn(const std::string& path) {
  PP_ASSIGN_OR_RETURN(const auto file, LogFile::Open(path));
  const std::string_view head = file->input().Peek(incident::kSignatureBytesMax + 1);
  if (incident::LooksLikeSignature(head)) return file->Checked(incident::ParseSignature(head));
  PP_ASSIGN_OR_RETURN(const auto read, file->Checked(incident::ReadIncident(file->input())));
  if (read.devices.empty()) {
    return UserError(fmt::format("{} says nothing of disks or file systems", path));
  }
  return incident::SignatureOf(read.devices.front());
}

void PrintComparison(const incident::Comparison& comparison) {
  for (const auto& part : comparison.parts) {
    const std::string agrees =
        part.known ? fmt::format("{:3.0f} % of {:2}", part.agrees * 100, part.weight)
                   : std::string("not counted");
    fmt::print("  {:12} {:11}  {}\n", part.name, agrees, report::Printable(part.reason));
  }
  fmt::print("{}: {:.1f} of 100, {} are needed\n", comparison.match ? "match" : "no match",
             comparison.score * 100, incident::kScoreMatch * 100);
}

// The folder that import wrote, or one made of a log, within the results.
Result<std::string> IncidentFolder(const std::string& path, const std::string& out) {
  if (os::IsFolder(path)) return path;
  PP_ASSIGN_OR_RETURN(const auto incident, Import(path));
  if (incident.devices.empty()) {
    return UserError(fmt::format("{} says nothing of disks or file systems: nothing to reproduce",
                                 path == "-" ? "stdin" : path));
  }
  std::string no_scenario;
  PP_ASSIGN_OR_RETURN(const Files files, FilesOf(incident.devices.front(), no_scenario));
  if (!no_scenario.empty()) return UserError(no_scenario);
  const std::string folder = out + "/incident";
  PP_RETURN_IF_ERROR(WriteFiles(folder, files));
  return folder;
}

// What the field did, first, and the reference agent in its place; all, where none is called so.
Result<std::vector<run::PlannedRun>> RunsOf(const std::string& path) {
  auto outcome = scenario::LoadScenarioFile(path);
  if (!outcome.ok()) {
    for (const auto& diagnostic : outcome.diagnostics) {
      fmt::print(stderr, "{}\n", diagnostic.ToString());
    }
    return UserError(path + " is no scenario; nothing was run");
  }
  PP_ASSIGN_OR_RETURN(auto plans, scenario::ExpandPlans(outcome.loaded->scenario));
  std::vector<run::PlannedRun> all;
  std::vector<run::PlannedRun> named;
  for (auto& plan : plans) {
    const std::string place = run::Workdir::PlaceOf(plan.scenario().name(), plan.variant());
    const bool is_field = plan.variant() == incident::kFieldVariant;
    if (is_field || plan.variant() == incident::kReferenceVariant) {
      named.insert(is_field ? named.begin() : named.end(), {plan, path, place});
    }
    all.push_back({std::move(plan), path, place});
  }
  const bool has_field = !named.empty() && named[0].plan.variant() == incident::kFieldVariant;
  return has_field ? named : all;
}

// {reproduced, kernel_log, comparison, runs [{variant, as_expected, violated []}]}.
void PrintReproducedJson(const ReportList& reports, const std::string& console,
                         const incident::Comparison& comparison) {
  using Json = nlohmann::ordered_json;
  Json json = {{"reproduced", comparison.match},
               {"kernel_log", console},
               {"comparison", Json::parse(incident::RenderComparisonJson(comparison))},
               {"runs", Json::array()}};
  for (const RunReport& run : reports.run()) {
    Json one = {{"variant", run.variant()},
                {"as_expected", run.as_expected()},
                {"recording", run.recording()},
                {"violated", Json::array()}};
    for (const AgentReport& agent : run.agent()) {
      for (const PropertyReport& property : agent.property()) {
        if (property.verdict() != PropertyReport::VIOLATED) continue;
        one["violated"].push_back({{"property", FindingClass_Name(property.property())},
                                   {"evidence", property.evidence()}});
      }
    }
    json["runs"].push_back(one);
  }
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

int ImportIncident(const IncidentArguments& arguments) {
  if (!arguments.out.empty()) {
    if (const Status free = CheckFolder(arguments.out); !free.ok()) return Fail(free.error());
  }
  const auto incident = Import(arguments.klog);
  if (!incident.ok()) return Fail(incident.error());
  std::string wrote;
  if (!arguments.out.empty()) {
    if (incident->devices.empty()) {
      return Fail(UserError(
          fmt::format("{} says nothing of disks or file systems, so there is no scenario to write",
                      arguments.klog)));
    }
    const auto& worst = incident->devices.front();
    std::string no_scenario;
    const auto files = FilesOf(worst, no_scenario);
    if (!files.ok()) return Fail(files.error());
    const Status written = WriteFolder(arguments.out, *files);
    if (!written.ok()) return Fail(written.error());
    wrote = no_scenario.empty()
                ? fmt::format("{0}/scenario.textproto and {0}/signature.json, of {1}\n",
                              arguments.out, worst.device)
                : fmt::format("{}/signature.json; no scenario: {}\n", arguments.out, no_scenario);
  }
  if (arguments.json) {
    fmt::print("{}", incident::RenderIncidentJson(*incident));
    return 0;
  }
  PrintIncident(*incident);
  if (!wrote.empty()) fmt::print("\nwritten: {}", wrote);
  return 0;
}

int ReproduceIncident(const IncidentArguments& arguments) {
  const std::string out = arguments.out.empty() ? run::kDefaultOut : arguments.out;
  const auto folder = IncidentFolder(arguments.klog, out);
  if (!folder.ok()) return Fail(folder.error());
  const auto field = SignatureIn(*folder + "/" + kSignatureFile);
  if (!field.ok()) return Fail(field.error());
  const auto runs = RunsOf(*folder + "/" + kScenarioFile);
  if (!runs.ok()) return Fail(runs.error());
  const auto workdir = OpenForReports(out);
  if (!workdir.ok()) return Fail(workdir.error());
  ReportList reports;
  {
    Progress progress;
    run::CampaignOptions options;
    options.jobs =
        arguments.jobs != 0 ? arguments.jobs : std::max(1U, std::thread::hardware_concurrency());
    options.accelerator = arguments.accelerator;
    options.progress = [&progress](const std::string& run, const std::string& what, uint64_t done,
                                   uint64_t total) { progress.Show(run, what, done, total); };
    reports = run::RunCampaign(*runs, *workdir, options);
  }
  const int expected = report::ExitStatus(reports);
  const Status written =
      workdir->WriteReports(reports, report::RenderJson(reports), report::RenderJUnit(reports));
  if (!written.ok()) return Fail(written.error());
  if (!arguments.json) Print(reports, ReportFormat::kTable);
  if (reports.run(0).has_error()) {
    return arguments.json ? Fail(GuestError(report::ErrorText(reports.run(0)))) : expected;
  }
  const std::string console =
      workdir->RecordingFolder((*runs)[0].place) + "/" + recording::kConsoleName;
  const auto reproduced = SignatureIn(console);
  if (!reproduced.ok()) return Fail(reproduced.error());
  const incident::Comparison comparison = incident::Compare(*field, *reproduced);
  if (arguments.json) {
    PrintReproducedJson(reports, console, comparison);
  } else {
    fmt::print("\n{} against {}:\n", console, arguments.klog);
    PrintComparison(comparison);
    fmt::print("{}\n", comparison.match ? "reproduced" : "not reproduced");
  }
  if (expected == 2 || expected == 3) return expected;
  return comparison.match && expected == 0 ? 0 : 1;
}

int CompareIncidents(const IncidentArguments& arguments) {
  const auto field = SignatureIn(arguments.klog);
  if (!field.ok()) return Fail(field.error());
  const auto reproduced = SignatureIn(arguments.other);
  if (!reproduced.ok()) return Fail(reproduced.error());
  const incident::Comparison comparison = incident::Compare(*field, *reproduced);
  if (arguments.json) {
    fmt::print("{}", incident::RenderComparisonJson(comparison));
    return comparison.match ? 0 : 1;
  }
  PrintComparison(comparison);
  return comparison.match ? 0 : 1;
}

}  // namespace plugpull::cli
