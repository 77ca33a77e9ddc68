// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>

#include "tests/bench/child.h"
#include "tests/bench/classic.h"
#include "tests/bench/engine.h"

namespace plugpull::bench {

using nlohmann::json;

namespace {

constexpr double kMib = 1 << 20;
constexpr size_t kPilotStates = 4;
constexpr uint64_t kSampleLeast = 10;

using Cuts = std::vector<size_t>;

json ToJson(const Measured& measured) {
  const auto states = static_cast<double>(measured.verdicts.size());
  const double own = measured.cpu_seconds - measured.e2fsck_cpu_seconds;
  return {{"states", measured.verdicts.size()},
          {"wall_seconds", measured.wall_seconds},
          {"cpu_seconds", measured.cpu_seconds},
          {"e2fsck_cpu_seconds", measured.e2fsck_cpu_seconds},
          {"states_per_second", states / std::max(measured.wall_seconds, 1e-9)},
          {"states_per_core_second", states / std::max(measured.cpu_seconds, 1e-9)},
          {"own_us_per_state", own / states * 1e6},
          {"e2fsck_us_per_state", measured.e2fsck_cpu_seconds / states * 1e6},
          {"distinct", measured.distinct},
          {"e2fsck_processes", measured.processes},
          {"peak_memory_kib", PeakMemoryKib()},
          {"verdicts", measured.verdicts}};
}

Result<json> Part(const Subject& subject, const char* name,
                  const std::function<Result<json>(const run::DiskSource&, const Cuts&)>& work) {
  std::fprintf(stderr, "plugpull-bench: %s: %s\n", subject.name().c_str(), name);
  return InChild([&]() -> Result<json> {
    PP_ASSIGN_OR_RETURN(const auto source, subject.Open());
    return work(*source, WritePrefixes(*source));
  });
}

// How many states the classic pipeline is to judge, from what a few of them cost.
Result<uint64_t> ClassicStates(const run::DiskSource& source, const Cuts& cuts,
                               const SpeedOptions& options) {
  if (options.sample != 0) return options.sample;
  const Cuts pilot = At(cuts, SampleOf(cuts.size(), kPilotStates, options.seed + 1));
  PP_ASSIGN_OR_RETURN(const Measured measured, RunClassic(source, pilot));
  const double each = measured.cpu_seconds / static_cast<double>(pilot.size());
  const double fit = options.classic_seconds / std::max(each, 1e-6);
  return std::max(kSampleLeast, static_cast<uint64_t>(std::min(fit, 1e9)));
}

// How many of the sampled states have the same verdict in both.
uint64_t Agreeing(const std::string& classic, const std::string& engine,
                  const std::vector<size_t>& sample) {
  uint64_t same = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    same += classic.at(i) == engine.at(sample[i]) ? 1 : 0;
  }
  return same;
}

std::string Held(const std::string& verdicts) {
  const auto held = std::count(verdicts.begin(), verdicts.end(), 'h');
  return fmt::format("{}/{}", held, verdicts.size());
}

void PrintPart(const json& row, const char* key, const char* way) {
  const json& part = row[key];
  const bool engine = part.contains("ratio");
  fmt::print(
      "{:<17} {:<10} {:>7} {:>10.1f} {:>7} {:>9.1f} {:>9.1f} {:>8} {:>6} {:>11} {:>13} "
      "{:>7.1f} {:>7.1f}\n",
      row["name"].get<std::string>(), way, part["states"].get<uint64_t>(),
      part["states_per_core_second"].get<double>(),
      engine ? fmt::format("{:.0f}x", part["ratio"].get<double>()) : "1x",
      part["own_us_per_state"].get<double>(), part["e2fsck_us_per_state"].get<double>(),
      engine ? std::to_string(part["distinct"].get<uint64_t>()) : "-",
      part["e2fsck_processes"].get<uint64_t>(),
      engine
          ? fmt::format("{}/{}", part["agreeing"].get<uint64_t>(), part["compared"].get<uint64_t>())
          : "-",
      Held(part["verdicts"].get<std::string>()),
      static_cast<double>(part["peak_memory_kib"].get<uint64_t>()) / 1024,
      static_cast<double>(row["log_bytes"].get<uint64_t>()) / kMib);
}

}  // namespace

Result<json> MeasureSpeed(const Subject& subject, const SpeedOptions& options) {
  json row = {{"name", subject.name()},
              {"seed", options.seed},
              {"activity", subject.activity()},
              {"log_bytes", subject.log_bytes()}};
  PP_ASSIGN_OR_RETURN(
      row["classic"], Part(subject, "classic", [&](const auto& source, const Cuts& cuts) {
        const auto measure = [&]() -> Result<json> {
          PP_ASSIGN_OR_RETURN(const uint64_t wanted, ClassicStates(source, cuts, options));
          const auto sample = SampleOf(cuts.size(), wanted, options.seed);
          PP_ASSIGN_OR_RETURN(const Measured measured, RunClassic(source, At(cuts, sample)));
          json part = ToJson(measured);
          part["sample"] = sample;
          return part;
        };
        return measure();
      }));
  for (const bool deduplicate : {true, false}) {
    const char* name = deduplicate ? "engine" : "engine_all";
    PP_ASSIGN_OR_RETURN(
        row[name], Part(subject, name, [&](const auto& source, const Cuts& cuts) -> Result<json> {
          PP_ASSIGN_OR_RETURN(const Measured measured, RunEngine(source, cuts, deduplicate));
          return ToJson(measured);
        }));
    const json& classic = row["classic"];
    json& engine = row[name];
    const auto sample = classic["sample"].get<std::vector<size_t>>();
    engine["compared"] = sample.size();
    engine["agreeing"] = Agreeing(classic["verdicts"].get<std::string>(),
                                  engine["verdicts"].get<std::string>(), sample);
    engine["ratio"] = engine["states_per_core_second"].get<double>() /
                      classic["states_per_core_second"].get<double>();
  }
  return row;
}

void PrintSpeed(const json& rows) {
  fmt::print("{:<17} {:<10} {:>7} {:>10} {:>7} {:>9} {:>9} {:>8} {:>6} {:>11} {:>13} {:>7} {:>7}\n",
             "log", "way", "states", "per core", "ratio", "us own", "us e2fsck", "distinct",
             "e2fsck", "agree", "holds", "MiB", "log MiB");
  for (const json& row : rows) {
    PrintPart(row, "classic", "classic");
    PrintPart(row, "engine", "engine");
    PrintPart(row, "engine_all", "engine all");
  }
}

bool AllAgree(const json& rows) {
  return std::all_of(rows.begin(), rows.end(), [](const json& row) {
    return row["engine"]["agreeing"] == row["engine"]["compared"] &&
           row["engine_all"]["agreeing"] == row["engine_all"]["compared"];
  });
}

}  // namespace plugpull::bench
