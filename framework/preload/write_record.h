// SPDX-License-Identifier: Apache-2.0
// What plugpull-write-recorder.so, preloaded into a program, leaves of the program's writes to one
// file: records, one behind the other, in the order in which the calls returned. A record is a
// RecordHeader and, of a write, its bytes. The recorder only knows the calls that it stands in for,
// so whoever reads a record must hold the file against it (base + writes == result).
#pragma once

#include <cstdint>

namespace plugpull::preload {

// Name of the shared object, beside plugpull's other programs.
inline constexpr char kRecorderName[] = "plugpull-write-recorder.so";
// Environment of the program: numbers of two of its descriptors, of the file and of the record.
// The record is opened with O_APPEND.
inline constexpr char kFileVariable[] = "PLUGPULL_RECORDED_FD";
inline constexpr char kRecordVariable[] = "PLUGPULL_RECORD_FD";

inline constexpr uint32_t kRecordMagic = 0x52575050;  // "PPWR"

enum class RecordKind : uint32_t {
  kWrite = 1,
  kFlush = 2,   // fsync or fdatasync returned
  kZeroes = 3,  // fallocate made zeroes of a range
};

struct RecordHeader {
  uint32_t magic;
  RecordKind kind;
  uint64_t offset;  // bytes in the file; 0 for a flush
  uint64_t length;
};
static_assert(sizeof(RecordHeader) == 24);

}  // namespace plugpull::preload
