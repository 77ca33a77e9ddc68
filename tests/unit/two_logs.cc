// SPDX-License-Identifier: Apache-2.0
#include "two_logs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <set>

#include "framework/base/prng.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"

namespace plugpull::crashstate {
namespace {

// What a thread submits. A forced write goes through two phases: the write, then a flush.
struct Bio {
  LoggedEntry entry;
  size_t thread = 0;
  int parts_left = 0;
  int flushes_left = 1;              // of a flush, and of a forced write
  std::vector<LoggedEntry> flushed;  // of a flush: what was complete when it was submitted
};
using BioPtr = std::shared_ptr<Bio>;

// What the host sees.
struct Request {
  bool flush = false;
  LoggedEntry entry;
  std::vector<BioPtr> bios;
  bool begun = false;  // of a flush
  uint64_t generation = 0;
};

class Simulation {
 public:
  Simulation(uint64_t seed, const TwoLogsOptions& options)
      : options_(options), prng_(DeriveSeed(seed, "two logs")) {
    threads_.resize(static_cast<size_t>(options.threads));
  }

  TwoLogs Run() {
    Mark("base 0");
    while (!Done()) Step();
    // As the executor ends a recording: nothing is in flight any more.
    for (const char* mark : {"end 0", "drain "}) {
      Mark(mark);
      while (InFlight()) Step();
    }
    Emit(TakeUnflushed());
    logs_.guest.push_back({'F', 0, {}, ""});
    logs_.host.push_back({'F', 0, {}, ""});
    return std::move(logs_);
  }

 private:
  struct Thread {
    int steps = 0;
    int waits = 0;             // bios of its own that are not complete
    bool then_forced = false;  // a forced write follows its flush, as behind a PREFLUSH
  };

  bool InFlight() const {
    return !disk_.empty() || !used_.empty() || running_ || !waiting_.empty();
  }
  bool Done() const {
    return !InFlight() && std::ranges::all_of(threads_, [&](const Thread& thread) {
      return thread.steps >= options_.steps && thread.waits == 0 && !thread.then_forced;
    });
  }

  void Step() {
    switch (prng_.Below(3)) {
      case 0:
        return HostWorks();
      case 1:
        return GuestSees();
      default:
        return ThreadWorks(prng_.Below(threads_.size()));
    }
  }

  void ThreadWorks(size_t number) {
    Thread& thread = threads_[number];
    if (thread.waits > 0) return;
    if (thread.then_forced) {
      thread.then_forced = false;
      return SubmitWrites(number, 'A', 1);
    }
    if (thread.steps >= options_.steps) return;
    ++thread.steps;
    const uint64_t choice = prng_.Below(8);
    if (choice < 4 || !options_.flushes) {
      SubmitWrites(number, 'W', 1 + prng_.Below(4));
    } else if (choice == 4) {
      SubmitWrites(number, 'A', 1);
    } else if (choice == 5) {
      SubmitFlush(number);
    } else if (choice == 6) {
      SubmitFlush(number, options_.forced_flushes);
      thread.then_forced = true;
    }
    if (number == 0 && thread.waits == 0) Mark("note " + std::to_string(++notes_));
  }

  // Sectors that nobody is writing; those of one call lie behind each other.
  void SubmitWrites(size_t thread, char kind, size_t count) {
    std::vector<BioPtr> bios;
    uint64_t sector = prng_.Below(kTwoLogsSectors);
    for (size_t i = 0; i < count; ++i) {
      const auto bio = std::make_shared<Bio>();
      bio->thread = thread;
      bio->entry.kind = kind;
      bio->entry.sector = sector;
      for (uint64_t n = 1 + prng_.Below(3); n > 0 && sector < kTwoLogsSectors; --n, ++sector) {
        if (!locked_.insert(sector).second) break;
        bio->entry.fills.push_back(static_cast<uint8_t>(1 + prng_.Below(200)));
      }
      if (bio->entry.fills.empty()) break;
      bios.push_back(bio);
    }
    threads_[thread].waits += static_cast<int>(bios.size());
    while (!bios.empty()) {
      size_t merged = 1;
      while (merged < bios.size() && prng_.Chance(options_.merge_permille)) ++merged;
      SendMerged({bios.begin(), bios.begin() + static_cast<ptrdiff_t>(merged)});
      bios.erase(bios.begin(), bios.begin() + static_cast<ptrdiff_t>(merged));
    }
  }

  // As one request, or as two where it is long enough.
  void SendMerged(const std::vector<BioPtr>& bios) {
    Request request;
    request.entry.sector = bios[0]->entry.sector;
    std::vector<BioPtr> owners;  // by sector
    for (const BioPtr& bio : bios) {
      for (const uint8_t fill : bio->entry.fills) {
        request.entry.fills.push_back(fill);
        owners.push_back(bio);
      }
    }
    size_t cut = request.entry.fills.size();
    if (cut > 1 && prng_.Chance(options_.split_permille)) cut = 1 + prng_.Below(cut - 1);
    const auto part = [&](size_t from, size_t to) {
      if (from == to) return;
      Request one;
      one.entry.sector = request.entry.sector + from;
      one.entry.fills.assign(request.entry.fills.begin() + static_cast<ptrdiff_t>(from),
                             request.entry.fills.begin() + static_cast<ptrdiff_t>(to));
      for (size_t i = from; i < to; ++i) {
        if (one.bios.empty() || one.bios.back() != owners[i]) one.bios.push_back(owners[i]);
      }
      for (const BioPtr& bio : one.bios) ++bio->parts_left;
      disk_.push_back(std::move(one));
    };
    part(0, cut);
    part(cut, request.entry.fills.size());
  }

  void Mark(const std::string& text) {
    const auto bio = std::make_shared<Bio>();
    bio->entry = {'M', kTwoLogsSectors, {0}, text};
    bio->parts_left = 1;
    ++threads_[0].waits;
    Request request;
    request.entry = bio->entry;
    request.bios = {bio};
    disk_.push_back(std::move(request));
  }

  void SubmitFlush(size_t thread, bool forced = false) {
    const auto bio = std::make_shared<Bio>();
    bio->thread = thread;
    bio->entry.kind = forced ? 'f' : 'F';
    bio->flushes_left = forced ? 2 : 1;
    bio->flushed = TakeUnflushed();
    ++threads_[thread].waits;
    waiting_.push_back(bio);
    StartFlush();
  }

  // One flush at a time; all that wait go with the next.
  void StartFlush() {
    if (running_ || waiting_.empty()) return;
    running_ = true;
    Request request;
    request.flush = true;
    request.bios = std::move(waiting_);
    waiting_.clear();
    disk_.push_back(std::move(request));
  }

  void HostWorks() {
    if (disk_.empty()) return;
    const size_t at = prng_.Below(disk_.size());
    Request& request = disk_[at];
    if (request.flush) {
      if (!request.begun) {
        request.begun = true;
        request.generation = generation_;
        return;
      }
      if (flushed_generation_ != request.generation) {
        logs_.host.push_back({'F', 0, {}, ""});
        flushed_generation_ = request.generation;
      }
    } else {
      logs_.host.push_back(request.entry);
      ++generation_;
    }
    used_.push_back(std::move(request));
    disk_.erase(disk_.begin() + static_cast<ptrdiff_t>(at));
  }

  void GuestSees() {
    if (used_.empty()) return;
    const Request request = std::move(used_.front());
    used_.pop_front();
    for (const BioPtr& bio : request.bios) {
      if (request.flush) {
        if (--bio->flushes_left == 0) {
          Complete(bio);
        } else {
          waiting_.push_back(bio);
        }
      } else if (--bio->parts_left == 0) {
        if (bio->entry.kind == 'A') {
          waiting_.push_back(bio);  // the flush behind a forced write
        } else {
          Complete(bio);
        }
      }
    }
    if (request.flush) running_ = false;
    StartFlush();
  }

  // The end of a bio as dm-log-writes sees it.
  void Complete(const BioPtr& bio) {
    --threads_[bio->thread].waits;
    if (bio->entry.kind == 'F' || bio->entry.kind == 'f') {
      Emit(bio->flushed);
      logs_.guest.push_back(bio->entry);
      return;
    }
    for (size_t i = 0; i < bio->entry.fills.size(); ++i) locked_.erase(bio->entry.sector + i);
    if (bio->entry.kind == 'A') {
      logs_.guest.push_back(bio->entry);
    } else {
      unflushed_.push_back(bio->entry);
    }
  }

  std::vector<LoggedEntry> TakeUnflushed() { return std::exchange(unflushed_, {}); }
  void Emit(const std::vector<LoggedEntry>& entries) {
    logs_.guest.insert(logs_.guest.end(), entries.begin(), entries.end());
  }

  const TwoLogsOptions options_;
  Prng prng_;
  std::vector<Thread> threads_;
  std::set<uint64_t> locked_;    // sectors with a write under way
  std::vector<Request> disk_;    // at the host
  std::deque<Request> used_;     // done, and not seen by the guest
  std::vector<BioPtr> waiting_;  // for a flush
  bool running_ = false;         // a flush is
  uint64_t generation_ = 0;
  uint64_t flushed_generation_ = 0;
  std::vector<LoggedEntry> unflushed_;
  int notes_ = 0;
  TwoLogs logs_;
};

}  // namespace

TwoLogs SimulateTwoLogs(uint64_t seed, const TwoLogsOptions& options) {
  return Simulation(seed, options).Run();
}

ReadBackLog::ReadBackLog(const std::vector<LoggedEntry>& entries) {
  blocklog::LogWriter writer;
  for (const LoggedEntry& entry : entries) {
    const Bytes at(entry.sector * 512);
    std::vector<uint8_t> data;
    for (const uint8_t fill : entry.fills) data.insert(data.end(), 512, fill);
    if (entry.kind == 'F') {
      writer.Flush();
    } else if (entry.kind == 'f') {
      writer.Write(Bytes(0), {}, blocklog::kFlagFlush | blocklog::kFlagFua);
    } else if (entry.kind == 'D') {
      writer.Discard(at, Bytes(data.size()));
    } else if (entry.kind == 'M') {
      const size_t space = entry.mark.find(' ');
      const auto mark =
          blocklog::EncodeMark({entry.mark.substr(0, space), entry.mark.substr(space + 1)});
      // A mark's entry may begin in front of the strip, in what it was merged with.
      std::copy(mark.begin(), mark.end(), data.end() - static_cast<ptrdiff_t>(mark.size()));
      writer.Write(at, data);
    } else {
      writer.Write(at, data, entry.kind == 'A' ? blocklog::kFlagFua : 0);
    }
  }
  bytes_ = writer.bytes();
  log_ = *blocklog::ReadLog(bytes_, {});
  auto history = blocklog::MakeHistory(log_, {Bytes(kTwoLogsSectors * 512), Bytes(4096), true});
  EXPECT_TRUE(history.ok());
  if (history.ok()) history_ = *std::move(history);
}

}  // namespace plugpull::crashstate
