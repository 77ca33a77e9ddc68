// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "framework/base/prng.h"
#include "tests/bench/child.h"
#include "tests/bench/measure.h"
#include "tests/bench/stages.h"
#include "tests/bench/subject.h"

namespace plugpull::bench {

using nlohmann::json;

namespace {

constexpr size_t kRandomStates = 64;
constexpr size_t kStatesLeast = 20'000;  // of a short log's turn, which is as many passes as needed

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Reads and writes more than processors keep: a log is judged once, and then nothing of it is near.
// Short logs would fit, and seem cheap, when passes follow each other.
void EmptyCaches() {
  constexpr size_t kBytes = 64 << 20;
  static std::vector<uint8_t> bytes(kBytes);
  for (size_t i = 0; i < kBytes; i += 64) ++bytes[i];
}

// States far apart, in any order.
std::vector<size_t> RandomCuts(const std::vector<size_t>& cuts, uint64_t seed) {
  Prng prng(DeriveSeed(seed, "random order"));
  std::vector<size_t> random;
  for (size_t i = 0; i < kRandomStates; ++i) random.push_back(cuts[prng.Below(cuts.size())]);
  return random;
}

// Events between one cut and the next, all of them together.
uint64_t Distance(const std::vector<size_t>& cuts) {
  uint64_t sum = 0;
  for (size_t i = 1; i < cuts.size(); ++i) {
    sum += std::max(cuts[i], cuts[i - 1]) - std::min(cuts[i], cuts[i - 1]);
  }
  return sum;
}

// One log, and what its turns gave.
class Runner {
 public:
  static Result<Runner> Open(const Subject& subject, uint64_t seed) {
    Runner runner;
    PP_ASSIGN_OR_RETURN(runner.source_, subject.Open());
    runner.cuts_ = WritePrefixes(*runner.source_);
    runner.random_ = RandomCuts(runner.cuts_, seed);
    return runner;
  }

  Status Turn() {
    const size_t passes = std::max<size_t>(1, kStatesLeast / cuts_.size());
    Stages sum;
    for (size_t i = 0; i < passes; ++i) {
      EmptyCaches();
      PP_ASSIGN_OR_RETURN(const Stages stages, MeasureStages(*source_, cuts_));
      distinct_ = stages.distinct;
      sum.set_up_seconds += stages.set_up_seconds;
      sum.move_seconds += stages.move_seconds;
      sum.check_set_up_seconds += stages.check_set_up_seconds;
      sum.check_seconds += stages.check_seconds;
    }
    const auto times = static_cast<double>(passes);
    move_us_.push_back(sum.move_seconds / times / static_cast<double>(cuts_.size() - 1) * 1e6);
    set_up_ms_.push_back(sum.set_up_seconds / times * 1e3);
    check_set_up_ms_.push_back(sum.check_set_up_seconds / times * 1e3);
    const auto checked = static_cast<double>(std::max<uint64_t>(distinct_, 2) - 1);
    check_us_.push_back(sum.check_seconds / times / checked * 1e6);
    PP_ASSIGN_OR_RETURN(const Stages far, MeasureStages(*source_, random_));
    random_ns_.push_back(far.move_seconds / static_cast<double>(Distance(random_)) * 1e9);
    return OkStatus();
  }

  json Figures() const {
    return {{"states", cuts_.size()},
            {"distinct", distinct_},
            {"move_us_per_state", Median(move_us_)},
            {"whole_us_per_state",
             Median(move_us_) + Median(set_up_ms_) * 1e3 / static_cast<double>(cuts_.size())},
            {"set_up_ms", Median(set_up_ms_)},
            {"check_us_per_image", Median(check_us_)},
            {"check_set_up_ms", Median(check_set_up_ms_)},
            {"random_ns_per_event", Median(random_ns_)}};
  }

 private:
  std::unique_ptr<run::DiskSource> source_;
  std::vector<size_t> cuts_;
  std::vector<size_t> random_;
  uint64_t distinct_ = 0;
  std::vector<double> move_us_;
  std::vector<double> set_up_ms_;
  std::vector<double> check_us_;
  std::vector<double> check_set_up_ms_;
  std::vector<double> random_ns_;
};

Result<json> MeasureAll(const std::vector<Subject>& subjects, const GrowthOptions& options) {
  std::vector<Runner> runners;
  for (const Subject& subject : subjects) {
    PP_ASSIGN_OR_RETURN(Runner runner, Runner::Open(subject, options.seed));
    runners.push_back(std::move(runner));
  }
  for (unsigned turn = 0; turn < options.repeats; ++turn) {
    std::fprintf(stderr, "plugpull-bench: growth: turn %u of %u\n", turn + 1, options.repeats);
    for (Runner& runner : runners) PP_RETURN_IF_ERROR(runner.Turn());
  }
  json figures = json::array();
  for (const Runner& runner : runners) figures.push_back(runner.Figures());
  return figures;
}

Result<json> PeakMemory(const Subject& subject) {
  return InChild([&]() -> Result<json> {
    PP_ASSIGN_OR_RETURN(const auto source, subject.Open());
    PP_RETURN_IF_ERROR(MeasureStages(*source, WritePrefixes(*source)));
    return json{{"kib", PeakMemoryKib()}};
  });
}

json Series(const std::string& name, const std::vector<json>& rows) {
  json series = {{"name", name}, {"rows", rows}};
  for (json& row : series["rows"]) {
    for (const auto& [us, growth] : {std::pair("move_us_per_state", "growth"),
                                     std::pair("whole_us_per_state", "whole_growth")}) {
      row[growth] = row[us].get<double>() / rows[0][us].get<double>();
    }
  }
  return series;
}

}  // namespace

Result<json> MeasureGrowth(const GrowthOptions& options) {
  std::vector<Subject> subjects;
  std::map<std::string, size_t> place;
  const auto add = [&](uint64_t writes, uint64_t mib, uint32_t block) -> Result<std::string> {
    const std::string name = fmt::format("{}:{}:{}", writes, mib, block);
    if (place.contains(name)) return name;
    PP_ASSIGN_OR_RETURN(const WorkloadShape shape, ParseShape(name, options.seed));
    PP_ASSIGN_OR_RETURN(Subject subject, Subject::Make(shape, options.scratch));
    place.emplace(name, subjects.size());
    subjects.push_back(std::move(subject));
    return name;
  };
  std::vector<std::pair<std::string, std::vector<std::string>>> wanted;
  for (const uint32_t block : options.blocks_bytes) {
    const uint64_t smallest = options.disks_mib[0];
    auto& by_writes =
        wanted.emplace_back(fmt::format("length of the log; {} MiB, blocks of {}", smallest, block),
                            std::vector<std::string>());
    for (const uint64_t writes : options.writes) {
      PP_ASSIGN_OR_RETURN(const std::string name, add(writes, smallest, block));
      by_writes.second.push_back(name);
    }
    auto& by_size = wanted.emplace_back(
        fmt::format("size of the disk; {} writes, blocks of {}", options.disks_writes, block),
        std::vector<std::string>());
    for (const uint64_t mib : options.disks_mib) {
      PP_ASSIGN_OR_RETURN(const std::string name, add(options.disks_writes, mib, block));
      by_size.second.push_back(name);
    }
  }
  PP_ASSIGN_OR_RETURN(json figures, InChild([&] { return MeasureAll(subjects, options); }));
  for (size_t i = 0; i < subjects.size(); ++i) {
    PP_ASSIGN_OR_RETURN(const json peak, PeakMemory(subjects[i]));
    figures[i]["name"] = subjects[i].name();
    figures[i]["log_bytes"] = subjects[i].log_bytes();
    figures[i]["peak_memory_kib"] = peak["kib"];
  }
  json all = json::array();
  for (const auto& [name, names] : wanted) {
    std::vector<json> rows;
    for (const std::string& workload : names) rows.push_back(figures[place.at(workload)]);
    all.push_back(Series(name, rows));
  }
  return all;
}

void PrintGrowth(const json& series) {
  for (const json& one : series) {
    fmt::print("\ngrowth with the {}\n", one["name"].get<std::string>());
    fmt::print(
        "{:<17} {:>7} {:>8} {:>13} {:>7} {:>9} {:>8} {:>7} {:>14} {:>11} {:>12} {:>7} {:>7}\n",
        "log", "states", "distinct", "move us/state", "growth", "set-up ms", "whole us", "growth",
        "check us/image", "check setup", "random ns/wr", "MiB", "log MiB");
    for (const json& row : one["rows"]) {
      fmt::print(
          "{:<17} {:>7} {:>8} {:>13.2f} {:>6.2f}x {:>9.2f} {:>8.2f} {:>6.2f}x {:>14.2f} {:>11.2f} "
          "{:>12.0f} {:>7.1f} {:>7.1f}\n",
          row["name"].get<std::string>(), row["states"].get<uint64_t>(),
          row["distinct"].get<uint64_t>(), row["move_us_per_state"].get<double>(),
          row["growth"].get<double>(), row["set_up_ms"].get<double>(),
          row["whole_us_per_state"].get<double>(), row["whole_growth"].get<double>(),
          row["check_us_per_image"].get<double>(), row["check_set_up_ms"].get<double>(),
          row["random_ns_per_event"].get<double>(),
          static_cast<double>(row["peak_memory_kib"].get<uint64_t>()) / 1024,
          static_cast<double>(row["log_bytes"].get<uint64_t>()) / (1 << 20));
    }
  }
}

double LargestGrowth(const json& series) {
  double largest = 0;
  for (const json& one : series) {
    for (const json& row : one["rows"]) largest = std::max(largest, row["growth"].get<double>());
  }
  return largest;
}

}  // namespace plugpull::bench
