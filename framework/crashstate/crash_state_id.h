// SPDX-License-Identifier: Apache-2.0
// The name of a crash state: short, printable, safe in a shell, and all that is needed to build
// the image again from the recording.
//
//   DISK:MODEL@CUT[-lose.E.E... | -keep.E.E... | -sample.SEED.PERMILLE[.LAST]][-older]
//   DISK:MODEL.uN@CUT[-lose.E.E...][-torn.E.TEAR]...[-older]
//   vol:cache@1042                      everything before log entry 1042
//   vol:cache@1042-lose.1031.1040       the same, but entries 1031 and 1040 never arrived
//   vol:lying@2210-keep.1500            of all volatile writes before 2210 only 1500 arrived
//   vol:cache@2210-sample.1f3a.500      each volatile write lost with a chance of 500 in 1000
//   vol:cache.w64@2210-sample.7.100.64  under a window of 64; only the last 64 are drawn
//   vol:cache.u512@1042-torn.1041.first.3         of 1041 only the first three units of 512 bytes
//   vol:cache.u512@1042-lose.1031-torn.1041.without.0   1031 lost, and of 1041 the first unit
//   ...-older                           overlapping writes that were logged after a forced write
//                                       came before it (their order is not known)
//
// MODEL: cache (a flush makes durable) or lying (flushes are ignored), then .wN (only the last N
// writes are volatile), .uN (writes tear at N bytes), .keep (discards leave the old bytes), .mkfs
// (cut from the log's start). TEAR: first.N or last.N (so many units of the write arrived and no
// others), without.I.J... (units I, J..., counted from 0, did not arrive). Entries are numbers of
// log entries, as `plugpull log show` prints them; each list ascends and names nothing twice.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::crashstate {

// What can be an atomic unit: a power of two from 512 to 4096.
bool IsAtomicUnit(uint64_t bytes);

// What the disk does; the values of scenario.proto's Model that shape a state.
struct DeviceModel {
  bool lying = false;
  uint64_t window = 0;  // volatile writes at most; 0: no bound
  // Bytes that never tear, a power of two from 512 to 4096; 0: a write is lost whole or not at all.
  uint32_t atomic_unit = 0;
  bool discard_keeps = false;
  bool from_mkfs = false;
  bool operator==(const DeviceModel&) const = default;
  std::string ToWords() const;  // "volatile cache", "lying (flushes are ignored), window 64"
};

// How a write arrived in part, counted in atomic units of the model.
struct Tear {
  enum class Kind : uint8_t { kFirst, kLast, kWithout };
  uint64_t entry = 0;  // log entry
  Kind kind = Kind::kFirst;
  // Of kFirst and kLast: units that arrived, at least 1; of kWithout: the first that did not.
  uint64_t number = 1;
  std::vector<uint64_t> also = {};  // of kWithout: others that did not, ascending, above `number`
  bool operator==(const Tear&) const = default;
  // Whether something is left of a write of so many units, and something missing.
  bool Fits(uint64_t units) const;
  bool Arrived(uint64_t unit, uint64_t units) const;
  // The shortest name of a tear of a write of so many units. `missing`: ascending, some of them
  // and not all.
  static Tear Without(uint64_t entry, const std::vector<uint64_t>& missing, uint64_t units);
};

// Which of the volatile writes never reached the disk, and which did in part.
struct Selection {
  enum class Kind : uint8_t { kAllArrived, kLose, kKeep, kSample };
  Kind kind = Kind::kAllArrived;
  std::vector<uint64_t> entries;  // of kLose and kKeep: log entries, ascending
  uint64_t seed = 0;              // of kSample
  uint32_t lose_permille = 0;     // of kSample
  uint64_t last = 0;              // of kSample: only so many last volatile writes; 0: all
  std::vector<Tear> torn = {};    // of kAllArrived and kLose: entries ascend, none is lost
  bool operator==(const Selection&) const = default;
};

struct CrashStateId {
  std::string disk;
  DeviceModel model;
  uint64_t cut = 0;  // log entry; what is before it happened
  Selection selection;
  bool overlapping_older = false;
  bool operator==(const CrashStateId&) const = default;

  std::string ToString() const;
  // A user error that says where the text stops being an id. At most 64 KiB of text. A state has
  // one name: lists that do not ascend are refused, not put in order.
  static Result<CrashStateId> Parse(std::string_view text);
};

}  // namespace plugpull::crashstate
