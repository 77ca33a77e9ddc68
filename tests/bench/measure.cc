// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/measure.h"

#include <sys/resource.h>

#include <chrono>
#include <fstream>

namespace plugpull::bench {
namespace {

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double CpuSeconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    ::getrusage(who, &usage);
    seconds += SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime);
  }
  return seconds;
}

}  // namespace

Stopwatch::Stopwatch() : wall_(WallSeconds()), cpu_(CpuSeconds()) {}

void Stopwatch::AddTo(Measured& measured) {
  const double wall = WallSeconds();
  const double cpu = CpuSeconds();
  measured.wall_seconds += wall - wall_;
  measured.cpu_seconds += cpu - cpu_;
  wall_ = wall;
  cpu_ = cpu;
}

uint64_t PeakMemoryKib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  uint64_t kib = 0;
  while (status >> word) {
    if (word == "VmHWM:") status >> kib;
  }
  return kib;
}

}  // namespace plugpull::bench
