// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/measure.h"

#include <sys/resource.h>
#include <time.h>

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

double CpuSeconds(int who) {
  rusage usage{};
  ::getrusage(who, &usage);
  return SecondsOf(usage.ru_utime) + SecondsOf(usage.ru_stime);
}

}  // namespace

Stopwatch::Stopwatch()
    : wall_(WallSeconds()),
      own_(CpuSeconds(RUSAGE_SELF)),
      of_children_(CpuSeconds(RUSAGE_CHILDREN)) {}

void Stopwatch::AddTo(Measured& measured) {
  const Stopwatch now;
  const double of_children = now.of_children_ - of_children_;
  measured.wall_seconds += now.wall_ - wall_;
  measured.cpu_seconds += now.own_ - own_ + of_children;
  measured.e2fsck_cpu_seconds += of_children;
  *this = now;
}

double ThreadCpuSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
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
