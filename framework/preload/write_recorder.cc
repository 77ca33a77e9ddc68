// SPDX-License-Identifier: Apache-2.0
// Preloaded into a program (ld.so(8), LD_PRELOAD): stands in for the calls that write to files, and
// records those that go to one file, told by its device and inode, so that it does not matter how
// the program opened it. Stands on the C library alone, keeps errno, and never makes a call fail:
// what cannot be recorded is missing from the record, which its reader finds out.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "framework/preload/write_record.h"

namespace {

using plugpull::preload::RecordHeader;
using plugpull::preload::RecordKind;

constexpr int kPiecesMax = 1024;  // IOV_MAX of Linux

int FdOf(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? -1 : std::atoi(text);
}

// Whether a descriptor is of the file that is recorded.
bool IsRecorded(int fd) {
  static const int file = FdOf(plugpull::preload::kFileVariable);
  struct stat wanted;
  struct stat given;
  return file >= 0 && ::fstat(file, &wanted) == 0 && ::fstat(fd, &given) == 0 &&
         wanted.st_dev == given.st_dev && wanted.st_ino == given.st_ino;
}

// One system call for header and bytes, so that a program that is killed leaves whole records but
// for the last one.
void Append(RecordKind kind, uint64_t offset, uint64_t length, const iovec* pieces, int count) {
  static const int record = FdOf(plugpull::preload::kRecordVariable);
  if (record < 0 || count < 0 || count > kPiecesMax - 1) return;
  const int saved = errno;
  RecordHeader header{plugpull::preload::kRecordMagic, kind, offset, length};
  iovec all[kPiecesMax];
  all[0] = {&header, sizeof header};
  uint64_t left = kind == RecordKind::kWrite ? length : 0;
  int used = 1;
  for (int i = 0; i < count && left > 0; ++i) {
    const uint64_t n = pieces[i].iov_len < left ? pieces[i].iov_len : left;
    all[used++] = {pieces[i].iov_base, n};
    left -= n;
  }
  // Not through writev, which is one of ours.
  (void)!::syscall(SYS_writev, record, all, used);
  errno = saved;
}

void AppendWrite(int fd, uint64_t offset, ssize_t done, const iovec* pieces, int count) {
  if (done > 0 && IsRecorded(fd)) {
    Append(RecordKind::kWrite, offset, static_cast<uint64_t>(done), pieces, count);
  }
}

// Where a write of `done` bytes at the file position has begun.
uint64_t StartOf(int fd, ssize_t done) {
  const int saved = errno;
  const off_t end = ::lseek(fd, 0, SEEK_CUR);
  errno = saved;
  return static_cast<uint64_t>(end) - static_cast<uint64_t>(done);
}

template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

ssize_t Pwrite(int fd, const void* data, size_t size, off_t offset) {
  static auto* const real = Real<ssize_t(int, const void*, size_t, off_t)>("pwrite64");
  const ssize_t done = real(fd, data, size, offset);
  const iovec piece{const_cast<void*>(data), size};
  AppendWrite(fd, static_cast<uint64_t>(offset), done, &piece, 1);
  return done;
}

ssize_t Pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  static auto* const real = Real<ssize_t(int, const iovec*, int, off_t)>("pwritev64");
  const ssize_t done = real(fd, pieces, count, offset);
  AppendWrite(fd, static_cast<uint64_t>(offset), done, pieces, count);
  return done;
}

int Fallocate(int fd, int mode, off_t offset, off_t length) {
  static auto* const real = Real<int(int, int, off_t, off_t)>("fallocate64");
  const int result = real(fd, mode, offset, length);
  const bool zeroes = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  if (result == 0 && zeroes && IsRecorded(fd)) {
    Append(RecordKind::kZeroes, static_cast<uint64_t>(offset), static_cast<uint64_t>(length),
           nullptr, 0);
  }
  return result;
}

int Flushed(int fd, int result) {
  if (result == 0 && IsRecorded(fd)) Append(RecordKind::kFlush, 0, 0, nullptr, 0);
  return result;
}

}  // namespace

#define PLUGPULL_SHOWN __attribute__((visibility("default")))

extern "C" {

PLUGPULL_SHOWN ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return Pwrite(fd, data, size, offset);
}
PLUGPULL_SHOWN ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  return Pwrite(fd, data, size, offset);
}
PLUGPULL_SHOWN ssize_t write(int fd, const void* data, size_t size) {
  static auto* const real = Real<ssize_t(int, const void*, size_t)>("write");
  const ssize_t done = real(fd, data, size);
  if (done > 0 && IsRecorded(fd)) {
    const iovec piece{const_cast<void*>(data), size};
    AppendWrite(fd, StartOf(fd, done), done, &piece, 1);
  }
  return done;
}
PLUGPULL_SHOWN ssize_t writev(int fd, const iovec* pieces, int count) {
  static auto* const real = Real<ssize_t(int, const iovec*, int)>("writev");
  const ssize_t done = real(fd, pieces, count);
  if (done > 0 && IsRecorded(fd)) AppendWrite(fd, StartOf(fd, done), done, pieces, count);
  return done;
}
PLUGPULL_SHOWN ssize_t pwritev(int fd, const iovec* pieces, int count, off_t offset) {
  return Pwritev(fd, pieces, count, offset);
}
PLUGPULL_SHOWN ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t offset) {
  return Pwritev(fd, pieces, count, offset);
}
PLUGPULL_SHOWN int fallocate(int fd, int mode, off_t offset, off_t length) {
  return Fallocate(fd, mode, offset, length);
}
PLUGPULL_SHOWN int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  return Fallocate(fd, mode, offset, length);
}
PLUGPULL_SHOWN int fsync(int fd) {
  static auto* const real = Real<int(int)>("fsync");
  return Flushed(fd, real(fd));
}
PLUGPULL_SHOWN int fdatasync(int fd) {
  static auto* const real = Real<int(int)>("fdatasync");
  return Flushed(fd, real(fd));
}

}  // extern "C"
