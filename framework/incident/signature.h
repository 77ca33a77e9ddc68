// SPDX-License-Identifier: Apache-2.0
// What of an incident must come back when it is reproduced, and how far it did. Names, sizes and
// counts are those of one machine and one day, so they are no part of it; proportions are.
//
// The score is the sum of the weights of what agrees, over the weights of what both sides know:
//   loop 20        both loop, or neither does
//   cycle 25       the events of one round, wherever the round is begun
//   options 20     mount options, without those that only say the default
//   failures 15    the kinds of failed mounts
//   file system 5
//   share 5        how many of the attempts succeeded
//   period 5       where both have times
//   errors 5       I/O, journal and file system errors: there, or not
// What is partly the same counts in part. Two signatures match when the score is at least
// kScoreMatch, both loop or neither does, the file systems do not differ, and neither do the
// options that order writes (the data mode, barriers).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/base/result.h"
#include "framework/incident/incident.h"

namespace plugpull::incident {

inline constexpr double kScoreMatch = 0.85;
inline constexpr size_t kSignatureBytesMax = 1 << 20;

struct Signature {
  std::string file_system;           // empty: not known
  std::vector<std::string> options;  // sorted
  bool loop = false;
  std::vector<std::string> cycle;     // the events of one round
  std::vector<std::string> failures;  // kinds, sorted
  double success_share = 0;           // of the attempts, from 0 to 1
  bool attempted = false;             // there were attempts
  std::optional<double> period_s;
  bool io_errors = false;
  bool journal_errors = false;
  bool file_system_errors = false;
  bool operator==(const Signature&) const = default;
};

Signature SignatureOf(const DeviceReport& report);

// JSON (UTF-8, ends in a newline), and back. A user error says what is wrong.
std::string RenderSignature(const Signature& signature);
Result<Signature> ParseSignature(std::string_view json);
// Whether a file is one, rather than a log.
bool LooksLikeSignature(std::string_view bytes);

struct Comparison {
  struct Part {
    std::string name;
    double weight = 0;  // of 100
    double agrees = 0;  // from 0 to 1
    bool known = true;  // to both sides; else it does not count
    std::string reason;
  };
  std::vector<Part> parts;
  double score = 0;  // from 0 to 1
  bool match = false;
};
Comparison Compare(const Signature& field, const Signature& reproduced);

// One JSON object: match, score, needed, parts [{name, weight, agrees (null: not counted),
// reason}].
std::string RenderComparisonJson(const Comparison& comparison);

}  // namespace plugpull::incident
