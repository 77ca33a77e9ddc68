// SPDX-License-Identifier: Apache-2.0
// The subcommands. Each takes what was parsed for it and returns the program's exit status:
//   0 as expected   1 a verdict differs   2 the user's input is wrong
//   3 the guest, this machine or plugpull failed   4 nothing ran
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/scenario/agent_definition.h"

namespace plugpull::cli {

struct RunArguments {
  std::vector<std::string> scenarios;  // files, or folders of them
  std::string agent;                   // definition file; empty: each scenario's own agents
  std::string out;
  std::optional<uint64_t> seed;
  unsigned jobs = 0;   // 0: processors of this machine
  std::string shard;   // "I/N"
  std::string filter;  // regular expression on "scenario/variant"
  uint32_t repeat = 1;
  std::vector<std::string> kernels;
  std::string accelerator = "auto";
  bool dry_run = false;
  std::string baseline;
  bool json = false;
};
int RunScenarios(const RunArguments& arguments);
int RecordScenarios(const RunArguments& arguments);
int OpenShell(const RunArguments& arguments);

struct CheckArguments {
  std::vector<std::string> recordings;
  std::string log;
  std::string base;
  std::string fs = "ext4";
  std::string from = "mount";  // or "mkfs"
  bool lying = false;
  bool scan_past_end = false;
  std::optional<uint32_t> max_states;
  std::string out;
  std::optional<uint64_t> seed;
  unsigned jobs = 0;
  bool e2fsck_only = false;
  std::string baseline;
  bool json = false;
};
int CheckRecordings(const CheckArguments& arguments);

struct StateArguments {
  std::string recording;
  std::string id;
  std::string log;  // instead of a recording
  std::string base;
  bool scan_past_end = false;
  std::string image;  // where to write
  bool recovered = false;
  uint64_t limit = 0;  // 0: all
};
int ListStates(const StateArguments& arguments);
int MaterializeState(const StateArguments& arguments);

struct DiagnoseArguments {
  std::string recording;
  std::string id;
  std::string log;  // instead of a recording
  std::string base;
  bool scan_past_end = false;
  std::string finding;      // class to keep; empty: the worst
  uint64_t max_states = 0;  // 0: the default
  unsigned jobs = 0;        // 0: processors of this machine
  bool minimize = false;    // of explain
  bool json = false;
};
int MinimizeState(const DiagnoseArguments& arguments);
int ExplainState(const DiagnoseArguments& arguments);

int ListCatalog(const std::string& folder, bool json);
// `agent`: a definition file that is put in place of their agents; may be empty.
int ValidateFiles(const std::vector<std::string>& paths, const std::string& agent);
int NewScenario(const std::string& name, const std::string& path);

struct LogArguments {
  std::string log;  // a log file, or a recording folder and a disk
  std::string disk;
  std::string output;
  uint64_t first = 0;
  uint64_t count = 0;  // 0: all
  bool scan_past_end = false;
  bool host = false;  // of a recording: the log that QEMU made
};
int ShowLog(const LogArguments& arguments);
int LogStatistics(const LogArguments& arguments);
int ConvertLog(const LogArguments& arguments);

struct IncidentArguments {
  std::string klog;
  std::string other;  // of compare: the reproduced log
  std::string out;    // of import: folder to write; empty: none. Of reproduce: of results
  bool json = false;
  unsigned jobs = 0;  // of reproduce; 0: processors of this machine
  std::string accelerator = "auto";
};
int ImportIncident(const IncidentArguments& arguments);
int ReproduceIncident(const IncidentArguments& arguments);
int CompareIncidents(const IncidentArguments& arguments);

struct ReportArguments {
  std::vector<std::string> folders;
  bool json = false;
  bool junit = false;
  bool matrix = false;
  std::string format = "table";  // of the matrix; or "markdown"
};
int ShowReport(const ReportArguments& arguments);

int ListKernels();
int FetchKernels(const std::vector<std::string>& names);
int Doctor();

// Parses a command line and runs it.
int Main(int argc, char** argv);

// "left out: SCENARIO/VARIANT: REASON".
std::string LeftOutWords(const std::string& scenario, const scenario::LeftOut& left_out);

// Prints an error as the program prints all of them and returns its exit status.
int Fail(const Error& error);

}  // namespace plugpull::cli
