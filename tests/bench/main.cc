// SPDX-License-Identifier: Apache-2.0
// plugpull-bench: how fast crash states are judged, by the classic pipeline and by the engine, on
// the same logs, and how the engine's cost of a state grows (tests/bench/README.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "tests/bench/growth.h"
#include "tests/bench/speed.h"

namespace plugpull::bench {
namespace {

using nlohmann::json;

struct Options {
  std::vector<std::string> workloads;  // WRITES:MIB:BLOCK
  std::string recording;
  std::string disk = "vol";
  std::string scratch = "/dev/shm";
  SpeedOptions speed;
  unsigned repeats = 5;
  double growth_max = 0;
  bool matrix = false;
  bool growth_only = false;
  bool speed_only = false;
  bool as_json = false;

  // Some logs were named: only those are measured.
  bool named() const { return !workloads.empty() || !recording.empty(); }
};

std::vector<std::string> SpeedMatrix(bool full) {
  if (!full) return {"1000:128:1024", "1000:128:4096", "10000:128:1024"};
  std::vector<std::string> matrix;
  for (const char* writes : {"1000", "10000", "100000"}) {
    for (const char* mib : {"128", "1024", "16384"}) {
      for (const char* block : {"1024", "4096"}) {
        matrix.push_back(fmt::format("{}:{}:{}", writes, mib, block));
      }
    }
  }
  return matrix;
}

Result<json> Speed(const Options& options) {
  json rows = json::array();
  if (!options.recording.empty()) {
    const Subject subject = Subject::Recorded(options.recording, options.disk);
    PP_ASSIGN_OR_RETURN(json row, MeasureSpeed(subject, options.speed));
    rows.push_back(std::move(row));
    return rows;
  }
  for (const std::string& workload :
       options.workloads.empty() ? SpeedMatrix(options.matrix) : options.workloads) {
    PP_ASSIGN_OR_RETURN(const WorkloadShape shape, ParseShape(workload, options.speed.seed));
    PP_ASSIGN_OR_RETURN(const Subject subject, Subject::Make(shape, options.scratch));
    SpeedOptions speed = options.speed;
    // Where many verdicts are to be compared.
    constexpr uint64_t kCompared = 5000;
    if (options.matrix && workload == "10000:128:1024" && speed.sample == 0) {
      speed.sample = kCompared;
    }
    PP_ASSIGN_OR_RETURN(json row, MeasureSpeed(subject, speed));
    rows.push_back(std::move(row));
  }
  return rows;
}

Result<json> Growth(const Options& options) {
  GrowthOptions growth{.writes = {1000, 10'000},
                       .disks_mib = {128, 1024},
                       .disks_writes = 10'000,
                       .blocks_bytes = {1024, 4096},
                       .repeats = options.repeats,
                       .seed = options.speed.seed,
                       .scratch = options.scratch};
  if (options.matrix) {
    growth.writes.push_back(100'000);
    growth.disks_mib.push_back(16384);
  }
  return MeasureGrowth(growth);
}

Result<json> RunAll(const Options& options) {
  json results = {{"speed", json::array()}, {"growth", json::array()}};
  if (!options.growth_only) {
    PP_ASSIGN_OR_RETURN(results["speed"], Speed(options));
  }
  if (!options.speed_only && !options.named()) {
    PP_ASSIGN_OR_RETURN(results["growth"], Growth(options));
  }
  return results;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures how fast crash states are judged (tests/bench/README.md).");
  app.add_flag("--matrix", options.matrix,
               "1000, 10000 and 100000 writes on 128, 1024 and 16384 MiB with blocks of 1024 and "
               "4096 bytes; takes half an hour (without: a few small logs, a minute)");
  auto* workload = app.add_option("--workload", options.workloads,
                                  "WRITES:MIB:BLOCK, may be repeated: only the speed on these");
  auto* recording =
      app.add_option("--recording", options.recording, "only the speed on a recording of plugpull");
  app.add_option("--disk", options.disk, "its disk (default: vol)");
  auto* speed_only = app.add_flag("--speed", options.speed_only, "without growth");
  app.add_flag("--growth", options.growth_only, "growth alone")
      ->excludes(speed_only)
      ->excludes(workload)
      ->excludes(recording);
  app.add_option("--sample", options.speed.sample,
                 "states for the classic pipeline (default: what --classic-seconds allow)")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--classic-seconds", options.speed.classic_seconds,
                 "processor time for the classic pipeline, each log (default: 10)")
      ->check(CLI::Range(0.1, 36000.0));
  app.add_option("--repeats", options.repeats, "turns of the growth measurement (default: 5)")
      ->check(CLI::Range(1, 101));
  app.add_option("--growth-max", options.growth_max,
                 "exit status 1 when moving, recovering and fingerprinting grow more");
  app.add_option("--seed", options.speed.seed, "of workloads and samples (default: 1)");
  app.add_option("--scratch", options.scratch, "folder for logs and images (default: /dev/shm)");
  app.add_flag("--json", options.as_json, "print JSON instead of tables");
  CLI11_PARSE(app, argc, argv);
  const auto results = RunAll(options);
  if (!results.ok()) {
    std::fprintf(stderr, "plugpull-bench: %s\n", results.error().ToString().c_str());
    return ExitStatusFor(results.error().code);
  }
  const json& speed = (*results)["speed"];
  const json& growth = (*results)["growth"];
  if (options.as_json) {
    fmt::print("{}\n", results->dump(2));
  } else {
    if (!speed.empty()) PrintSpeed(speed);
    PrintGrowth(growth);
  }
  // Speed is worth nothing where the verdicts differ.
  const bool grows = options.growth_max > 0 && LargestGrowth(growth) > options.growth_max;
  return AllAgree(speed) && !grows ? 0 : 1;
}

}  // namespace
}  // namespace plugpull::bench

int main(int argc, char** argv) { return plugpull::bench::Main(argc, argv); }
