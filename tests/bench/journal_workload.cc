// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/journal_workload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "framework/base/prng.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "tests/bench/ext4_files.h"

namespace plugpull::bench {
namespace {

constexpr size_t kFolders = 16;
constexpr size_t kFilesMax = 1500;
constexpr uint64_t kLiveBytesMax = 32 << 20;
constexpr uint64_t kAppendBlocksMax = 8;
constexpr uint64_t kFileBlocksMax = 64;

Status MakeBase(const WorkloadShape& shape, const std::string& path) {
  const os::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(shape.disk_mib << 20)) != 0) {
    return EnvironmentError(fmt::format("cannot make {}: {}", path, os::ErrnoText(errno)));
  }
  PP_ASSIGN_OR_RETURN(const std::string mke2fs, os::FindProgram("mke2fs", "e2fsprogs"));
  os::SubprocessOptions options;
  options.argv = {
      mke2fs,
      "-q",
      "-F",
      "-t",
      "ext4",
      "-b",
      std::to_string(shape.block_bytes),
      "-J",
      fmt::format("size={}", shape.journal_mib),
      "-O",
      "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
      "huge_file,dir_nlink,extra_isize,metadata_csum",
      "-U",
      "11111111-2222-3333-4444-555555555555",
      "-E",
      "hash_seed=66666666-7777-8888-9999-aaaaaaaaaaaa,nodiscard,lazy_itable_init=0,"
      "lazy_journal_init=0,root_owner=0:0",
      path};
  options.environment = {"LC_ALL=C", "MKE2FS_CONFIG=/dev/null", "MKE2FS_SKIP_PROGRESS=1",
                         "E2FSPROGS_FAKE_TIME=1600000000"};
  PP_ASSIGN_OR_RETURN(const auto made, os::RunProgram(options, Millis(120'000)));
  if (made.exit.signaled || made.exit.code != 0) {
    return EnvironmentError(fmt::format("mke2fs: {}: {}", made.exit.ToString(), made.out));
  }
  return OkStatus();
}

// Draws operations, a transaction at a time.
class Workload {
 public:
  Workload(Ext4Files& files, const WorkloadShape& shape)
      : files_(files),
        prng_(DeriveSeed(shape.seed, "operations")),
        live_max_(std::min(files.free_blocks() / 2, kLiveBytesMax / shape.block_bytes)) {}

  Status Begin() {
    constexpr uint32_t kRoot = 2;
    for (size_t i = 0; i < kFolders; ++i) {
      PP_ASSIGN_OR_RETURN(const uint32_t folder, files_.MakeFolder(kRoot, fmt::format("d{}", i)));
      folders_.push_back(folder);
    }
    return OkStatus();
  }

  // One to six operations that are committed together; what frees comes last.
  Status Transaction() {
    const uint64_t operations = prng_.Between(1, 6);
    for (uint64_t i = 0; i < operations; ++i) PP_RETURN_IF_ERROR(Add());
    const bool full = live_blocks_ > live_max_ || all_.size() > kFilesMax;
    const uint64_t removed = full ? prng_.Between(3, 8) : prng_.Below(2);
    for (uint64_t i = 0; i < removed && !all_.empty(); ++i) {
      const size_t which = prng_.Below(all_.size());
      live_blocks_ -= all_[which].blocks;
      PP_RETURN_IF_ERROR(files_.Remove(all_[which]));
      all_[which] = std::move(all_.back());
      all_.pop_back();
    }
    if (!below_.empty() && prng_.Chance(200)) {
      const Below folder = std::move(below_.back());
      below_.pop_back();
      return files_.RemoveFolder(folder.parent, folder.name, folder.inode);
    }
    return OkStatus();
  }

 private:
  struct Below {
    uint32_t parent;
    uint32_t inode;
    std::string name;
  };
  uint32_t AnyFolder() { return folders_[prng_.Below(folders_.size())]; }
  // Mostly one of the last few: what is not touched again is what checkpoints write home.
  Ext4Files::File& AnyFile() {
    constexpr size_t kRecent = 12;
    const size_t size = all_.size();
    const size_t among = prng_.Chance(800) ? std::min(kRecent, size) : size;
    return all_[size - 1 - prng_.Below(among)];
  }
  std::string NewName() { return fmt::format("f{}", ++names_); }

  Status Append(Ext4Files::File& file) {
    const uint64_t blocks = prng_.Between(1, kAppendBlocksMax);
    if (file.blocks + blocks > kFileBlocksMax) return OkStatus();
    live_blocks_ += blocks;
    return files_.AppendTo(file, blocks);
  }

  Status Add() {
    const uint64_t dice = prng_.Below(100);
    if (all_.empty() || dice < 35) {
      PP_ASSIGN_OR_RETURN(auto file, files_.Create(AnyFolder(), NewName(), prng_.Chance(80)));
      all_.push_back(std::move(file));
      return Append(all_.back());
    }
    if (dice < 80) return Append(AnyFile());
    if (dice < 92) {
      return files_.Rename(AnyFile(), AnyFolder(), NewName());
    }
    Below folder{AnyFolder(), 0, NewName()};
    PP_ASSIGN_OR_RETURN(folder.inode, files_.MakeFolder(folder.parent, folder.name));
    below_.push_back(std::move(folder));
    return OkStatus();
  }

  Ext4Files& files_;
  Prng prng_;
  uint64_t live_max_;
  uint64_t live_blocks_ = 0;
  uint64_t names_ = 0;
  std::vector<uint32_t> folders_;
  std::vector<Ext4Files::File> all_;
  std::vector<Below> below_;
};

}  // namespace

Result<JournalActivity> MakeJournalWorkload(const WorkloadShape& shape,
                                            const std::string& base_path,
                                            const std::string& log_path) {
  PP_RETURN_IF_ERROR(MakeBase(shape, base_path));
  PP_ASSIGN_OR_RETURN(MemoryDisk disk, MemoryDisk::Open(base_path, shape.block_bytes));
  PP_ASSIGN_OR_RETURN(Ext4Files files, Ext4Files::Open(disk, DeriveSeed(shape.seed, "content")));
  PP_ASSIGN_OR_RETURN(auto journal, files.JournalBlocks());
  blocklog::LogWriter log;
  Jbd2Writer writer(disk, std::move(journal), log);
  files.MarkMounted();
  (void)disk.TakeWritten();
  writer.WriteThrough(files.superblock_block());
  writer.Mount();
  Workload workload(files, shape);
  PP_RETURN_IF_ERROR(workload.Begin());
  writer.Commit(files.TakeTransaction());
  while (writer.activity().writes < shape.writes) {
    PP_RETURN_IF_ERROR(workload.Transaction());
    writer.Commit(files.TakeTransaction());
  }
  const auto& bytes = log.bytes();
  PP_RETURN_IF_ERROR(
      os::WriteFileAtomic(log_path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  return writer.activity();
}

}  // namespace plugpull::bench
