// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/guarantee_generator.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "framework/base/prng.h"
#include "framework/workload/file_tree.h"

namespace plugpull::workload {
namespace {

constexpr uint32_t kRoundsMax = 10'000;
constexpr uint32_t kSizeKibLeast = 8;
constexpr uint32_t kSizeKibMax = 1024;
constexpr uint32_t kRoundsPerSync = 3;
constexpr uint64_t kBlockBytes = 1024;  // half of all lengths are multiples of this

// The questions of a round, one file each.
enum class Role : uint8_t {
  kAppend,
  kOverwrite,
  kReplaceSynced,
  kReplaceUnsynced,
};
constexpr Role kChanges[] = {Role::kAppend, Role::kOverwrite, Role::kReplaceSynced,
                             Role::kReplaceUnsynced};

class Generator {
 public:
  Generator(const GuaranteesWorkload& options, uint64_t seed, uint32_t workload)
      : options_(options),
        prng_(DeriveSeed(seed, "guarantees")),
        next_file_((uint64_t{workload} << 32) + 1),
        prefix_(workload == 0 ? "g" : fmt::format("w{}g", workload)) {}

  std::vector<Operation> Run();

 private:
  // A file under its present name.
  struct File {
    std::string path;
    uint64_t file = 0;
    uint64_t size = 0;
  };

  Operation& Emit(Operation::Kind kind, const std::string& path);
  void Write(File& file, uint64_t offset, uint64_t length);
  File Create(const std::string& name);
  File CreateSynced(const std::string& name);
  void Rename(File& file, const std::string& to);
  void Fsync(const File& file) { Emit(Operation::FSYNC, file.path).set_file(file.file); }
  uint64_t AnyLength();
  void Begin(uint32_t number);
  void Round(uint32_t round);
  void Change(Role role, File& file);
  void Commit(uint32_t round, int step);

  const GuaranteesWorkload& options_;
  Prng prng_;
  uint64_t next_file_;
  std::string prefix_;
  std::string folder_;  // of these rounds
  std::vector<Operation> operations_;
  std::vector<std::string> removable_;  // of rounds that a sync(2) has ended
  std::vector<std::string> present_;
  File busy_;
};

Operation& Generator::Emit(Operation::Kind kind, const std::string& path) {
  Operation& operation = operations_.emplace_back();
  operation.set_kind(kind);
  operation.set_path(path);
  return operation;
}

void Generator::Write(File& file, uint64_t offset, uint64_t length) {
  Operation& write = Emit(Operation::WRITE, file.path);
  write.set_file(file.file);
  write.set_offset(offset);
  write.set_length(length);
  file.size = std::max(file.size, offset + length);
}

uint64_t Generator::AnyLength() {
  const uint64_t most = uint64_t{options_.size_kib_max()} << 10;
  const uint64_t length = prng_.Between(most / 4, most);
  return prng_.Chance(500) ? length / kBlockBytes * kBlockBytes : length;
}

Generator::File Generator::Create(const std::string& name) {
  File file{folder_ + "/" + name, next_file_++, 0};
  Emit(Operation::CREATE, file.path).set_file(file.file);
  Write(file, 0, AnyLength());
  return file;
}

Generator::File Generator::CreateSynced(const std::string& name) {
  File file = Create(name);
  Fsync(file);
  return file;
}

void Generator::Rename(File& file, const std::string& to) {
  Operation& rename = Emit(Operation::RENAME, file.path);
  rename.set_path2(to);
  rename.set_file(file.file);
  file.path = to;
}

void Generator::Change(Role role, File& file) {
  switch (role) {
    case Role::kAppend:
      return Write(file, file.size, AnyLength());
    case Role::kReplaceSynced:
    case Role::kReplaceUnsynced: {
      const std::string name = file.path.substr(folder_.size() + 1) + ".new";
      File fresh = role == Role::kReplaceSynced ? CreateSynced(name) : Create(name);
      return Rename(fresh, file.path);
    }
    default:
      return Write(file, 0, file.size);
  }
}

// Something else is made durable, and the journal commits what has gathered.
void Generator::Commit(uint32_t round, int step) {
  switch (step) {
    case 0:
      busy_ = CreateSynced(fmt::format("busy{}", round));
      return;
    case 1:
      Write(busy_, busy_.size, AnyLength());
      break;
    case 2:
      Write(busy_, 0, busy_.size);
      break;
    default:
      Rename(busy_, busy_.path + ".moved");
      present_.push_back(busy_.path);
      break;
  }
  Fsync(busy_);
}

// A folder of their own keeps the names of a few rounds in one block. What was before is removed
// without a sync: its blocks go to the files that are made next.
void Generator::Begin(uint32_t number) {
  for (const std::string& path : std::exchange(removable_, {})) Emit(Operation::UNLINK, path);
  if (number > 0) Emit(Operation::RMDIR, folder_);
  folder_ = fmt::format("{}{}", prefix_, number);
  Emit(Operation::MKDIR, folder_);
}

void Generator::Round(uint32_t round) {
  if (round % kRoundsPerSync == 0) Begin(round / kRoundsPerSync);
  std::vector<std::pair<Role, File>> files;
  for (const Role role : kChanges) {
    files.emplace_back(role,
                       CreateSynced(fmt::format("{}{}", "aoru"[static_cast<size_t>(role)], round)));
    present_.push_back(files.back().second.path);
  }
  for (size_t i = files.size(); i > 1; --i) std::swap(files[i - 1], files[prng_.Below(i)]);
  int step = 0;
  for (auto& [role, file] : files) {
    Change(role, file);
    Commit(round, step++);
  }
  if ((round + 1) % kRoundsPerSync != 0 && round + 1 != options_.rounds()) return;
  Emit(Operation::SYNC, "");
  removable_ = std::exchange(present_, {});
}

std::vector<Operation> Generator::Run() {
  Emit(Operation::SYNC, "");
  for (uint32_t round = 0; round < options_.rounds(); ++round) Round(round);
  return std::move(operations_);
}

Status CheckNumber(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return UserError(fmt::format("guarantees workload: {} is {}, it must be from {} to {}", name,
                               value, low, high));
}

}  // namespace

Result<std::vector<Operation>> GenerateGuarantees(const GuaranteesWorkload& options, uint64_t seed,
                                                  uint32_t workload) {
  PP_RETURN_IF_ERROR(CheckNumber("rounds", options.rounds(), 1, kRoundsMax));
  PP_RETURN_IF_ERROR(
      CheckNumber("size_kib_max", options.size_kib_max(), kSizeKibLeast, kSizeKibMax));
  return Generator(options, seed, workload).Run();
}

}  // namespace plugpull::workload
