// SPDX-License-Identifier: Apache-2.0
#include "framework/workload/generator.h"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "framework/base/check.h"
#include "framework/base/prng.h"
#include "framework/workload/file_tree.h"

namespace plugpull::workload {
namespace {

constexpr uint64_t kFileSizesMax = 4;  // a file grows to so many times size_kib_max
constexpr size_t kNamesOfFileMax = 4;  // hard links
constexpr size_t kSubfoldersMax = 12;  // made and removed by the workload
constexpr size_t kFreedNamesMax = 64;  // remembered, to be used again
constexpr uint64_t kHoleBytesMax = 96 << 10;
constexpr uint64_t kBlockBytes = 1024;  // sizes that are whole blocks are multiples of this

// Number of the first file of a workload, less one.
constexpr uint64_t FirstFile(uint32_t workload) { return static_cast<uint64_t>(workload) << 32; }

struct LiveFile {
  uint64_t file = 0;
  std::vector<std::string> names;
};

Status CheckNumber(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return OkStatus();
  return UserError(
      fmt::format("files workload: {} is {}, it must be from {} to {}", name, value, low, high));
}

class Generator {
 public:
  Generator(const FilesWorkload& options, uint64_t seed, uint32_t workload)
      : options_(options),
        prng_(DeriveSeed(seed, "files")),
        next_file_(FirstFile(workload) + 1),
        prefix_(workload == 0 ? "d" : fmt::format("w{}d", workload)),
        weights_{options.weight_create(),   options.weight_append(), options.weight_overwrite(),
                 options.weight_rename(),   options.weight_link(),   options.weight_unlink(),
                 options.weight_truncate(), options.weight_mkdir()} {}

  Status CheckOptions() const;
  std::vector<Operation> Run();

 private:
  enum Choice : size_t {
    kCreate,
    kAppend,
    kOverwrite,
    kRename,
    kLink,
    kUnlink,
    kTruncate,
    kMkdir,
    kChoices
  };

  bool Done() const { return changes_ >= options_.count(); }
  uint64_t SizeMax() const { return static_cast<uint64_t>(options_.size_kib_max()) << 10; }
  uint64_t FileSizeMax() const { return SizeMax() * kFileSizesMax; }
  uint64_t SizeOf(const LiveFile& file) const {
    return tree_.FindFile(file.file)->content.size_bytes();
  }
  const std::string& AnyName(const LiveFile& file) {
    return file.names[prng_.Below(file.names.size())];
  }
  size_t AnyFile() { return prng_.Below(files_.size()); }

  void Emit(Operation operation);
  void Change(Operation operation);
  Choice Choose();
  void Do(Choice choice);
  void Create();
  void Append();
  void Overwrite();
  void RenameOne();
  void LinkOne();
  void UnlinkOne(size_t position);
  void RemoveOldest();
  void TruncateOne();
  void MakeOrRemoveFolder();

  void Write(const LiveFile& file, uint64_t offset, uint64_t length);
  uint64_t AnyLength(uint64_t length_max);
  const std::string& AnyFolder();
  std::string NewName();
  void ForgetName(size_t position, const std::string& name);
  bool WantsSync();
  void SyncFolder(const std::string& path);
  void SyncAll();
  void SyncAfterData(const std::string& path);
  void SyncAfterNames(const std::string& file_name, const std::vector<std::string>& folders);

  const FilesWorkload& options_;
  Prng prng_;
  uint64_t next_file_;
  std::string prefix_;
  std::array<uint32_t, kChoices> weights_;
  FileTree tree_;
  std::vector<Operation> operations_;
  uint64_t changes_ = 0;
  std::vector<LiveFile> files_;       // oldest first
  std::vector<std::string> folders_;  // base folders, then subfolders
  size_t base_folders_ = 0;
  uint64_t next_subfolder_ = 0;
  std::deque<std::string> freed_names_;
};

Status Generator::CheckOptions() const {
  PP_RETURN_IF_ERROR(CheckNumber("count", options_.count(), 1, 1'000'000));
  PP_RETURN_IF_ERROR(CheckNumber("size_kib_max", options_.size_kib_max(), 1, 65536));
  PP_RETURN_IF_ERROR(CheckNumber("folders", options_.folders(), 1, 1000));
  PP_RETURN_IF_ERROR(CheckNumber("files_max", options_.files_max(), 1, 100'000));
  for (const uint32_t weight : weights_) {
    PP_RETURN_IF_ERROR(CheckNumber("a weight", weight, 0, 1000));
  }
  // The other operations need files.
  return CheckNumber("weight_create", options_.weight_create(), 1, 1000);
}

void Generator::Emit(Operation operation) {
  const auto applied = tree_.Apply(operation, operations_.size());
  PP_CHECK(applied.ok());
  operations_.push_back(std::move(operation));
}

void Generator::Change(Operation operation) {
  ++changes_;
  Emit(std::move(operation));
}

std::vector<Operation> Generator::Run() {
  for (uint32_t i = 0; i < options_.folders(); ++i) {
    Operation make;
    make.set_kind(Operation::MKDIR);
    make.set_path(fmt::format("{}{}", prefix_, i));
    folders_.push_back(make.path());
    Emit(std::move(make));
  }
  base_folders_ = folders_.size();
  const auto sync = options_.sync();
  if (sync == FilesWorkload::FSYNC_EACH || sync == FilesWorkload::FSYNC_SOME) SyncAll();
  while (!Done()) Do(Choose());
  if (sync == FilesWorkload::SYNC_AT_END) SyncAll();
  return std::move(operations_);
}

Generator::Choice Generator::Choose() {
  uint64_t sum = 0;
  for (const uint32_t weight : weights_) sum += weight;
  uint64_t pick = prng_.Below(sum);
  size_t choice = 0;
  for (; pick >= weights_[choice]; ++choice) pick -= weights_[choice];
  const bool needs_file = choice != kCreate && choice != kMkdir;
  return needs_file && files_.empty() ? kCreate : static_cast<Choice>(choice);
}

void Generator::Do(Choice choice) {
  switch (choice) {
    case kAppend:
      return Append();
    case kOverwrite:
      return Overwrite();
    case kRename:
      return RenameOne();
    case kLink:
      return LinkOne();
    case kUnlink:
      return UnlinkOne(AnyFile());
    case kTruncate:
      return TruncateOne();
    case kMkdir:
      return MakeOrRemoveFolder();
    default:
      return Create();
  }
}

// A quarter are whole blocks: block boundaries are where mistakes live, and so are other sizes.
uint64_t Generator::AnyLength(uint64_t length_max) {
  const uint64_t length = prng_.Between(1, length_max);
  if (length_max < kBlockBytes || !prng_.Chance(250)) return length;
  return std::max(kBlockBytes, length / kBlockBytes * kBlockBytes);
}

// Few files go to the folders that come and go: those are removed only while they are empty.
const std::string& Generator::AnyFolder() {
  const size_t subfolders = folders_.size() - base_folders_;
  if (subfolders > 0 && prng_.Chance(120)) return folders_[base_folders_ + prng_.Below(subfolders)];
  return folders_[prng_.Below(base_folders_)];
}

// Names are used again, so that a name that comes back from the dead can be told from a new one.
std::string Generator::NewName() {
  if (!freed_names_.empty() && prng_.Chance(400)) {
    const size_t position = prng_.Below(freed_names_.size());
    std::string name = freed_names_[position];
    freed_names_.erase(freed_names_.begin() + static_cast<std::ptrdiff_t>(position));
    const bool folder_there = tree_.Lookup(ParentFolder(name)).kind == Binding::Kind::kFolder;
    if (folder_there && tree_.Lookup(name).kind == Binding::Kind::kAbsent) return name;
  }
  const uint64_t numbers = uint64_t{options_.files_max()} * 2 * kNamesOfFileMax;
  for (uint64_t number = prng_.Below(numbers);; number = (number + 1) % numbers) {
    std::string name = fmt::format("{}/f{}", AnyFolder(), number);
    if (tree_.Lookup(name).kind == Binding::Kind::kAbsent) return name;
  }
}

void Generator::ForgetName(size_t position, const std::string& name) {
  LiveFile& file = files_[position];
  freed_names_.push_back(name);
  if (freed_names_.size() > kFreedNamesMax) freed_names_.pop_front();
  std::erase(file.names, std::string(name));
  if (file.names.empty()) files_.erase(files_.begin() + static_cast<std::ptrdiff_t>(position));
}

void Generator::Write(const LiveFile& file, uint64_t offset, uint64_t length) {
  Operation write;
  write.set_kind(Operation::WRITE);
  write.set_path(AnyName(file));
  write.set_file(file.file);
  write.set_offset(offset);
  write.set_length(length);
  const std::string path = write.path();
  const bool wants_sync = WantsSync();
  write.set_o_sync(wants_sync && prng_.Chance(120));
  const bool o_sync = write.o_sync();
  Change(std::move(write));
  if (wants_sync && !o_sync) SyncAfterData(path);
}

void Generator::Create() {
  if (files_.size() >= options_.files_max()) return RemoveOldest();
  Operation create;
  create.set_kind(Operation::CREATE);
  create.set_path(NewName());
  create.set_file(next_file_++);
  const LiveFile file{create.file(), {create.path()}};
  files_.push_back(file);
  Change(std::move(create));
  // An empty file that is synced before its first write is an obligation of its own.
  if (WantsSync() && prng_.Chance(150)) {
    SyncAfterNames(file.names[0], {std::string(ParentFolder(file.names[0]))});
  }
  if (!Done()) Write(file, 0, AnyLength(SizeMax()));
}

void Generator::Append() {
  const LiveFile& file = files_[AnyFile()];
  const uint64_t size = SizeOf(file);
  if (size >= FileSizeMax()) return Overwrite();
  const uint64_t gap =
      prng_.Chance(200) ? prng_.Below(std::min(kHoleBytesMax, FileSizeMax() - size)) : 0;
  const uint64_t length_max = std::min(SizeMax(), FileSizeMax() - size - gap);
  Write(file, size + gap, AnyLength(length_max));
}

void Generator::Overwrite() {
  const LiveFile& file = files_[AnyFile()];
  const uint64_t size = SizeOf(file);
  if (size == 0) return Write(file, 0, AnyLength(SizeMax()));
  const uint64_t offset = prng_.Below(size);
  Write(file, offset, prng_.Between(1, std::min(SizeMax(), size - offset)));
}

void Generator::RenameOne() {
  const size_t position = AnyFile();
  const LiveFile& file = files_[position];
  const std::string from = AnyName(file);
  std::string to;
  std::optional<size_t> replaced;
  if (files_.size() > 1 && prng_.Chance(400)) {
    replaced = AnyFile();
    if (*replaced == position) replaced = (position + 1) % files_.size();
    to = AnyName(files_[*replaced]);
  } else {
    to = NewName();
  }
  Operation rename;
  rename.set_kind(Operation::RENAME);
  rename.set_path(from);
  rename.set_path2(to);
  rename.set_file(file.file);
  Change(std::move(rename));
  std::erase(files_[position].names, std::string(from));
  files_[position].names.push_back(to);
  if (replaced) {
    ForgetName(*replaced, to);
    std::erase(freed_names_, to);
  }
  freed_names_.push_back(from);
  if (WantsSync()) {
    SyncAfterNames(to, {std::string(ParentFolder(to)), std::string(ParentFolder(from))});
  }
}

void Generator::LinkOne() {
  const size_t position = AnyFile();
  if (files_[position].names.size() >= kNamesOfFileMax) return UnlinkOne(position);
  Operation link;
  link.set_kind(Operation::LINK);
  link.set_path(AnyName(files_[position]));
  link.set_path2(NewName());
  link.set_file(files_[position].file);
  const std::string to = link.path2();
  Change(std::move(link));
  files_[position].names.push_back(to);
  if (WantsSync()) SyncAfterNames(to, {std::string(ParentFolder(to))});
}

void Generator::UnlinkOne(size_t position) {
  const std::string name = AnyName(files_[position]);
  Operation unlink;
  unlink.set_kind(Operation::UNLINK);
  unlink.set_path(name);
  unlink.set_file(files_[position].file);
  Change(std::move(unlink));
  const bool has_more = files_[position].names.size() > 1;
  ForgetName(position, name);
  if (!WantsSync()) return;
  SyncAfterNames(has_more ? files_[position].names[0] : "", {std::string(ParentFolder(name))});
}

void Generator::RemoveOldest() {
  const uint64_t file = files_.front().file;
  while (!Done() && !files_.empty() && files_.front().file == file) UnlinkOne(0);
}

void Generator::TruncateOne() {
  const LiveFile& file = files_[AnyFile()];
  const uint64_t size = SizeOf(file);
  Operation truncate;
  truncate.set_kind(Operation::TRUNCATE);
  truncate.set_path(AnyName(file));
  truncate.set_file(file.file);
  const uint64_t choice = prng_.Below(10);
  uint64_t length = 0;
  if (choice >= 7 && size < FileSizeMax()) {
    length = size + prng_.Between(1, std::min(kHoleBytesMax, FileSizeMax() - size));
  } else if (choice >= 1 && size > 0) {
    length = prng_.Below(size);
  }
  truncate.set_length(length);
  const std::string path = truncate.path();
  Change(std::move(truncate));
  if (WantsSync()) SyncAfterData(path);
}

void Generator::MakeOrRemoveFolder() {
  const size_t subfolders = folders_.size() - base_folders_;
  const bool remove = subfolders >= kSubfoldersMax || (subfolders > 0 && prng_.Chance(350));
  for (size_t i = base_folders_; remove && i < folders_.size(); ++i) {
    if (!tree_.IsEmptyFolder(folders_[i])) continue;
    Operation rmdir;
    rmdir.set_kind(Operation::RMDIR);
    rmdir.set_path(folders_[i]);
    const std::string parent(ParentFolder(folders_[i]));
    folders_.erase(folders_.begin() + static_cast<std::ptrdiff_t>(i));
    Change(std::move(rmdir));
    if (WantsSync()) SyncAfterNames("", {parent});
    return;
  }
  if (subfolders >= kSubfoldersMax) return Create();
  Operation make;
  make.set_kind(Operation::MKDIR);
  const std::string parent = folders_[prng_.Below(base_folders_)];
  // Numbers come round again, so that a removed folder is made anew.
  do {
    make.set_path(fmt::format("{}/s{}", parent, next_subfolder_++ % (2 * kSubfoldersMax)));
  } while (tree_.Lookup(make.path()).kind != Binding::Kind::kAbsent);
  const std::string path = make.path();
  folders_.push_back(path);
  Change(std::move(make));
  if (WantsSync()) SyncAfterNames("", {path, parent});
}

bool Generator::WantsSync() {
  switch (options_.sync()) {
    case FilesWorkload::FSYNC_EACH:
      return true;
    case FilesWorkload::FSYNC_SOME:
      return prng_.Chance(250);
    default:
      return false;
  }
}

void Generator::SyncFolder(const std::string& path) {
  Operation sync;
  sync.set_kind(Operation::FSYNC);
  sync.set_path(path);
  Emit(std::move(sync));
}

void Generator::SyncAll() {
  Operation sync;
  sync.set_kind(Operation::SYNC);
  Emit(std::move(sync));
}

void Generator::SyncAfterData(const std::string& path) {
  const uint64_t choice = prng_.Below(100);
  if (choice < 8) return SyncAll();
  if (choice < 15) return SyncFolder(std::string(ParentFolder(path)));
  Operation sync;
  sync.set_kind(choice < 35 ? Operation::FDATASYNC : Operation::FSYNC);
  sync.set_path(path);
  sync.set_file(tree_.Lookup(path).file);
  Emit(std::move(sync));
}

void Generator::SyncAfterNames(const std::string& file_name,
                               const std::vector<std::string>& folders) {
  const uint64_t choice = prng_.Below(100);
  if (choice < 10) return SyncAll();
  if (choice < 50 || file_name.empty()) return SyncFolder(folders[prng_.Below(folders.size())]);
  Operation sync;
  sync.set_kind(choice < 60 ? Operation::FDATASYNC : Operation::FSYNC);
  sync.set_path(file_name);
  sync.set_file(tree_.Lookup(file_name).file);
  Emit(std::move(sync));
}

}  // namespace

Result<std::vector<Operation>> GenerateFiles(const FilesWorkload& options, uint64_t seed,
                                             uint32_t workload) {
  Generator generator(options, seed, workload);
  PP_RETURN_IF_ERROR(generator.CheckOptions());
  return generator.Run();
}

}  // namespace plugpull::workload
