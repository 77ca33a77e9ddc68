// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/times_generator.h"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace plugpull::workload {
namespace {

constexpr uint32_t kRoundsMax = 1000;
constexpr uint64_t kFileBytes = 1024;
constexpr uint64_t kDayMs = 36ULL * 3600 * 1000;
constexpr uint32_t kModes[] = {0600, 0640};

class Generator {
 public:
  Generator(const TimestampsWorkload& options, uint32_t workload)
      : options_(options),
        next_file_((uint64_t{workload} << 32) + 1),
        prefix_(workload == 0 ? "t" : fmt::format("w{}t", workload)) {}

  std::vector<Operation> Run();

 private:
  struct File {
    std::string path;
    uint64_t file = 0;
    uint64_t size = 0;
  };

  Operation& Emit(Operation::Kind kind, const std::string& path);
  Operation& Look(Operation::Kind kind, const File& file);
  File Create(const std::string& path);
  File Subject(const std::string& name);
  void Part();
  void Write(File& file, uint64_t offset);
  void WriteAndRead(File& file);
  void Read(const File& file) { Look(Operation::READ, file).set_length(kFileBytes); }
  void Fsync(const File& file) { Emit(Operation::FSYNC, file.path).set_file(file.file); }
  void Commits(uint32_t count);
  void Begin(const std::string& name);
  void Round(uint32_t round);
  void Reads(const File& read, const std::string& listed);
  void Day();

  const TimestampsWorkload& options_;
  uint64_t next_file_;
  std::string prefix_;
  std::string folder_;
  uint64_t parted_ = 0;
  File busy_;
  std::vector<Operation> operations_;
};

Operation& Generator::Emit(Operation::Kind kind, const std::string& path) {
  Operation& operation = operations_.emplace_back();
  operation.set_kind(kind);
  operation.set_path(path);
  return operation;
}

Operation& Generator::Look(Operation::Kind kind, const File& file) {
  Operation& operation = Emit(kind, file.path);
  operation.set_file(file.file);
  operation.set_look_at_times(true);
  return operation;
}

void Generator::Write(File& file, uint64_t offset) {
  Operation& write = Emit(Operation::WRITE, file.path);
  write.set_file(file.file);
  write.set_offset(offset);
  write.set_length(kFileBytes);
  file.size = std::max(file.size, offset + kFileBytes);
}

Generator::File Generator::Create(const std::string& path) {
  File file{path, next_file_++, 0};
  Emit(Operation::CREATE, path).set_file(file.file);
  return file;
}

// Inodes are given out in order, so these lie between what was made before and what comes next.
void Generator::Part() {
  for (uint32_t i = 1; i < kInodesApart; ++i) Create(fmt::format("{}/p{}", folder_, parted_++));
}

Generator::File Generator::Subject(const std::string& name) {
  File file = Create(folder_ + "/" + name);
  Write(file, 0);
  Part();
  return file;
}

// In place: nothing but times changes in the inode.
void Generator::WriteAndRead(File& file) {
  Write(file, 0);
  operations_.back().set_look_at_times(true);
  Read(file);
}

// The journal commits what has gathered, for another file's sake.
void Generator::Commits(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    Write(busy_, busy_.size);
    Fsync(busy_);
  }
}

void Generator::Begin(const std::string& name) {
  folder_ = prefix_ + name;
  Emit(Operation::MKDIR, folder_);
  Part();
  busy_ = Subject("busy");
}

void Generator::Reads(const File& read, const std::string& listed) {
  Read(read);
  Fsync(read);
  Commits(1);
  Read(read);
  Fsync(read);
  Commits(1);
  Emit(Operation::LIST, listed).set_look_at_times(true);
  Emit(Operation::FSYNC, listed);
  Commits(1);
}

void Generator::Round(uint32_t round) {
  Begin(fmt::format("{}", round));
  File none = Subject("none");
  File changed = Subject("changed");
  File fsynced = Subject("fsynced");
  File datasynced = Subject("datasynced");
  File with_all = Subject("with_all");
  File evicted = Subject("evicted");
  const File read = Subject("read");
  const std::string listed = folder_ + "/listed";
  Emit(Operation::MKDIR, listed);
  Part();
  Create(listed + "/in_it");
  Part();
  Emit(Operation::SYNC, "");

  WriteAndRead(none);
  Commits(3);
  WriteAndRead(changed);
  Look(Operation::CHMOD, changed).set_mode(kModes[round % std::size(kModes)]);
  Commits(3);
  WriteAndRead(fsynced);
  Fsync(fsynced);
  Commits(1);
  WriteAndRead(datasynced);
  Emit(Operation::FDATASYNC, datasynced.path).set_file(datasynced.file);
  Commits(1);
  Reads(read, listed);
  WriteAndRead(with_all);
  Emit(Operation::SYNCFS, "");
  Commits(1);
  WriteAndRead(evicted);
  Emit(Operation::EVICT, "");
  Commits(3);
  Emit(Operation::SYNC, "");
}

void Generator::Day() {
  Begin("day");
  File waiting = Subject("waiting");
  File read = Subject("read");
  Emit(Operation::SYNC, "");
  Read(read);
  Fsync(read);
  WriteAndRead(waiting);
  Commits(1);
  Emit(Operation::WAIT, "").set_wait_ms(kDayMs);
  Commits(2);
  Read(read);
  Fsync(read);
  Commits(2);
  Emit(Operation::SYNC, "");
}

std::vector<Operation> Generator::Run() {
  Emit(Operation::SYNC, "");
  for (uint32_t round = 0; round < options_.rounds(); ++round) Round(round);
  if (options_.day()) Day();
  return std::move(operations_);
}

}  // namespace

Result<std::vector<Operation>> GenerateTimestamps(const TimestampsWorkload& options,
                                                  uint32_t workload) {
  if (options.rounds() < 1 || options.rounds() > kRoundsMax) {
    return UserError(fmt::format("timestamps workload: rounds is {}, it must be from 1 to {}",
                                 options.rounds(), kRoundsMax));
  }
  return Generator(options, workload).Run();
}

}  // namespace plugpull::workload
