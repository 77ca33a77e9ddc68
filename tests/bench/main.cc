// SPDX-License-Identifier: Apache-2.0
// plugpull-bench: how fast crash states are judged, by the classic pipeline and by the engine, on
// the same logs. Every part runs in a process of its own, so that one's memory is not the other's.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "framework/base/prng.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "tests/bench/classic.h"
#include "tests/bench/engine.h"
#include "tests/bench/journal_workload.h"

namespace plugpull::bench {
namespace {

using nlohmann::json;

struct Options {
  std::vector<std::string> workloads;  // WRITES:MIB:BLOCK
  std::string recording;
  std::string disk = "vol";
  std::string scratch = "/dev/shm";
  uint64_t sample = 200;
  uint64_t engine_max = 0;
  uint64_t seed = 1;
  bool as_json = false;
};

// One log to measure on.
struct Subject {
  std::string name;
  std::string log;  // of a workload: its files
  std::string base;
};

json ToJson(const Measured& measured) {
  const auto states = static_cast<double>(measured.verdicts.size());
  return {{"states", measured.verdicts.size()},
          {"wall_seconds", measured.wall_seconds},
          {"cpu_seconds", measured.cpu_seconds},
          {"states_per_second", states / std::max(measured.wall_seconds, 1e-9)},
          {"states_per_core_second", states / std::max(measured.cpu_seconds, 1e-9)},
          {"distinct", measured.distinct},
          {"e2fsck_processes", measured.processes},
          {"peak_memory_kib", PeakMemoryKib()},
          {"verdicts", measured.verdicts}};
}

// Runs `work` in a process of its own; what it returns comes back through a pipe.
Result<json> InChild(const std::function<Result<json>()>& work) {
  int ends[2];
  if (::pipe(ends) != 0) return EnvironmentError("pipe: " + os::ErrnoText(errno));
  const os::Fd from(ends[0]);
  os::Fd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return EnvironmentError("fork: " + os::ErrnoText(errno));
  if (child == 0) {
    const Result<json> result = work();
    const std::string text =
        result.ok() ? result->dump() : json{{"error", result.error().ToString()}}.dump();
    const bool sent =
        os::WriteAll(to.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}).ok();
    ::_exit(sent ? 0 : 1);
  }
  to.Reset();
  std::string text;
  char buffer[65536];
  for (ssize_t got; (got = ::read(from.get(), buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  json result = json::parse(text, nullptr, false);
  if (status != 0 || result.is_discarded()) {
    return InternalError(
        fmt::format("a part of the measurement ended with wait status {}", status));
  }
  if (result.contains("error")) return EnvironmentError(result["error"].get<std::string>());
  return result;
}

Result<std::unique_ptr<run::DiskSource>> OpenSource(const Options& options,
                                                    const Subject& subject) {
  if (!options.recording.empty()) {
    PP_ASSIGN_OR_RETURN(const auto reader, recording::Reader::Open(options.recording));
    return run::DiskSource::FromRecording(reader, options.disk, {});
  }
  return run::DiskSource::FromLogFile({subject.log, subject.base, false, {}});
}

// Every cut right behind a write; of more than engine_max so many in a row, from the middle.
std::vector<size_t> WritePrefixes(const run::DiskSource& source, uint64_t engine_max) {
  std::vector<size_t> cuts;
  const auto& history = source.history();
  for (size_t i = history.base; i < history.events.size(); ++i) {
    if (history.events[i].ChangesBlocks()) cuts.push_back(i + 1);
  }
  if (engine_max == 0 || cuts.size() <= engine_max) return cuts;
  const auto first = cuts.begin() + static_cast<ptrdiff_t>((cuts.size() - engine_max) / 2);
  return {first, first + static_cast<ptrdiff_t>(engine_max)};
}

// One of every stretch of the list, drawn.
std::vector<size_t> SampleOf(size_t count, uint64_t wanted, uint64_t seed) {
  std::vector<size_t> sample;
  Prng prng(DeriveSeed(seed, "sample"));
  const size_t parts = std::min<size_t>(wanted, count);
  for (size_t i = 0; i < parts; ++i) {
    const size_t first = count * i / parts;
    sample.push_back(first + prng.Below(count * (i + 1) / parts - first));
  }
  return sample;
}

std::vector<size_t> At(const std::vector<size_t>& cuts, const std::vector<size_t>& indexes) {
  std::vector<size_t> chosen;
  for (const size_t index : indexes) chosen.push_back(cuts[index]);
  return chosen;
}

Result<json> EnginePart(const run::DiskSource& source, const std::vector<size_t>& cuts,
                        bool deduplicate) {
  PP_ASSIGN_OR_RETURN(const auto measured, RunEngine(source, cuts, deduplicate));
  return measured ? ToJson(*measured) : json(nullptr);
}

// How many of the sampled states have the same verdict in both.
uint64_t Agreeing(const std::string& classic, const std::string& engine,
                  const std::vector<size_t>& sample) {
  uint64_t same = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    const char verdict = engine.size() == sample.size() ? engine[i] : engine.at(sample[i]);
    same += classic.at(i) == verdict ? 1 : 0;
  }
  return same;
}

Result<json> Measure(const Options& options, const Subject& subject) {
  json result = {{"name", subject.name}, {"seed", options.seed}};
  std::vector<size_t> sample;
  const auto part = [&](const std::string& name, bool whole, const auto& run) -> Status {
    std::fprintf(stderr, "plugpull-bench: %s: %s\n", subject.name.c_str(), name.c_str());
    PP_ASSIGN_OR_RETURN(result[name], InChild([&]() -> Result<json> {
                          PP_ASSIGN_OR_RETURN(const auto source, OpenSource(options, subject));
                          const auto cuts = WritePrefixes(*source, options.engine_max);
                          const auto chosen = SampleOf(cuts.size(), options.sample, options.seed);
                          PP_ASSIGN_OR_RETURN(json measured,
                                              run(*source, whole ? cuts : At(cuts, chosen)));
                          if (!measured.is_null()) measured["cuts"] = cuts.size();
                          return measured;
                        }));
    return OkStatus();
  };
  PP_RETURN_IF_ERROR(
      part("classic", false, [](const auto& source, const auto& cuts) -> Result<json> {
        PP_ASSIGN_OR_RETURN(const Measured measured, RunClassic(source, cuts));
        return ToJson(measured);
      }));
  PP_RETURN_IF_ERROR(part("engine", true, [](const auto& source, const auto& cuts) {
    return EnginePart(source, cuts, true);
  }));
  PP_RETURN_IF_ERROR(part("engine_all", false, [](const auto& source, const auto& cuts) {
    return EnginePart(source, cuts, false);
  }));
  json& classic = result["classic"];
  sample = SampleOf(classic["cuts"].get<size_t>(), options.sample, options.seed);
  for (const char* name : {"engine", "engine_all"}) {
    if (result[name].is_null()) continue;
    json& engine = result[name];
    engine["compared"] = sample.size();
    engine["agreeing"] = Agreeing(classic["verdicts"].get<std::string>(),
                                  engine["verdicts"].get<std::string>(), sample);
    engine["ratio"] = engine["states_per_core_second"].get<double>() /
                      classic["states_per_core_second"].get<double>();
  }
  return result;
}

std::string Held(const std::string& verdicts) {
  const auto held = std::count(verdicts.begin(), verdicts.end(), 'h');
  return fmt::format("{}/{}", held, verdicts.size());
}

void PrintRow(const std::string& name, const char* way, const json& part) {
  if (part.is_null()) {
    fmt::print("{:<24} {:<10} this engine always deduplicates\n", name, way);
    return;
  }
  const bool engine = part.contains("ratio");
  fmt::print("{:<24} {:<10} {:>8} {:>11.1f} {:>11.1f} {:>8} {:>9} {:>8} {:>11} {:>15} {:>8.1f}\n",
             name, way, part["states"].get<uint64_t>(), part["states_per_second"].get<double>(),
             part["states_per_core_second"].get<double>(),
             engine ? fmt::format("{:.1f}x", part["ratio"].get<double>()) : "1x",
             engine ? std::to_string(part["distinct"].get<uint64_t>()) : "-",
             part["e2fsck_processes"].get<uint64_t>(),
             engine ? fmt::format("{}/{}", part["agreeing"].get<uint64_t>(),
                                  part["compared"].get<uint64_t>())
                    : "-",
             Held(part["verdicts"].get<std::string>()),
             static_cast<double>(part["peak_memory_kib"].get<uint64_t>()) / 1024);
}

void PrintTable(const json& results) {
  fmt::print("{:<24} {:<10} {:>8} {:>11} {:>11} {:>8} {:>9} {:>8} {:>11} {:>15} {:>8}\n", "log",
             "way", "states", "states/s", "per core", "ratio", "distinct", "e2fsck", "agree",
             "holds", "MiB");
  for (const json& result : results) {
    const auto name = result["name"].get<std::string>();
    PrintRow(name, "classic", result["classic"]);
    PrintRow(name, "engine", result["engine"]);
    PrintRow(name, "engine all", result["engine_all"]);
  }
}

Result<WorkloadShape> ShapeOf(const std::string& text, uint64_t seed) {
  WorkloadShape shape;
  shape.seed = seed;
  unsigned long writes = 0;
  unsigned long mib = 0;
  unsigned block = 0;
  int end = 0;
  if (std::sscanf(text.c_str(), "%lu:%lu:%u%n", &writes, &mib, &block, &end) != 3 ||
      static_cast<size_t>(end) != text.size() || writes < 1 || writes > 10'000'000 || mib < 16 ||
      mib > (1 << 20) || (block != 1024 && block != 2048 && block != 4096)) {
    return UserError(fmt::format(
        "workload '{}' is no WRITES:MIB:BLOCK (at most 10000000 writes, 16 to 1048576 MiB, blocks "
        "of 1024, 2048 or 4096 bytes), such as 1000:128:4096",
        text));
  }
  shape.writes = writes;
  shape.disk_mib = mib;
  shape.block_bytes = block;
  return shape;
}

Result<json> RunWorkload(const Options& options, const std::string& text) {
  PP_ASSIGN_OR_RETURN(const WorkloadShape shape, ShapeOf(text, options.seed));
  const std::string folder = fmt::format("{}/plugpull-bench-{}", options.scratch, ::getpid());
  PP_RETURN_IF_ERROR(os::MakeFolders(folder));
  const Subject subject{text, folder + "/log", folder + "/base"};
  const auto measure = [&]() -> Result<json> {
    PP_ASSIGN_OR_RETURN(const json activity, InChild([&]() -> Result<json> {
                          PP_ASSIGN_OR_RETURN(
                              const JournalActivity made,
                              MakeJournalWorkload(shape, subject.base, subject.log));
                          return json{{"writes", made.writes},
                                      {"transactions", made.transactions},
                                      {"checkpoints", made.checkpoints},
                                      {"home_writes", made.home_writes},
                                      {"wraps", made.wraps},
                                      {"revokes", made.revokes},
                                      {"escapes", made.escapes}};
                        }));
    PP_ASSIGN_OR_RETURN(json result, Measure(options, subject));
    result["activity"] = activity;
    return result;
  };
  Result<json> result = measure();
  (void)os::RemoveAll(folder);
  return result;
}

Result<json> RunAll(const Options& options) {
  json results = json::array();
  if (!options.recording.empty()) {
    PP_ASSIGN_OR_RETURN(json result, Measure(options, {"recording " + options.disk, {}, {}}));
    results.push_back(std::move(result));
    return results;
  }
  for (const std::string& workload : options.workloads) {
    PP_ASSIGN_OR_RETURN(json result, RunWorkload(options, workload));
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<std::string> FullMatrix() {
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

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures how fast crash states are judged (tests/bench/README.md).");
  app.add_option("--workload", options.workloads,
                 "WRITES:MIB:BLOCK, may be repeated; without: 1000, 10000 and 100000 writes on "
                 "128, 1024 and 16384 MiB with blocks of 1024 and 4096 bytes");
  app.add_option("--recording", options.recording, "a recording of plugpull instead");
  app.add_option("--disk", options.disk, "its disk (default: vol)");
  app.add_option("--sample", options.sample, "states for the classic pipeline (default: 200)")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--engine-max", options.engine_max,
                 "write prefixes at most, in a row, from the middle (default: all)");
  app.add_option("--seed", options.seed, "of workloads and samples (default: 1)");
  app.add_option("--scratch", options.scratch, "folder for logs and images (default: /dev/shm)");
  app.add_flag("--json", options.as_json, "print JSON instead of a table");
  CLI11_PARSE(app, argc, argv);
  if (options.workloads.empty()) options.workloads = FullMatrix();
  const auto results = RunAll(options);
  if (!results.ok()) {
    std::fprintf(stderr, "plugpull-bench: %s\n", results.error().ToString().c_str());
    return ExitStatusFor(results.error().code);
  }
  if (options.as_json) {
    fmt::print("{}\n", results->dump(2));
  } else {
    PrintTable(*results);
  }
  // Speed is worth nothing where the verdicts differ.
  for (const json& result : *results) {
    for (const char* name : {"engine", "engine_all"}) {
      if (result[name].is_null()) continue;
      if (result[name]["agreeing"] != result[name]["compared"]) return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace plugpull::bench

int main(int argc, char** argv) { return plugpull::bench::Main(argc, argv); }
