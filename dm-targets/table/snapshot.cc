// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/snapshot.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "dm-targets/table/line.h"

namespace plugpull::dm {
namespace {

constexpr size_t kPlainParameters = 4;
constexpr size_t kFeaturesMax = 2;

constexpr std::array<std::pair<Snapshot::Kind, std::string_view>, 3> kKinds = {{
    {Snapshot::Kind::kTransient, "N"},
    {Snapshot::Kind::kPersistent, "P"},
    {Snapshot::Kind::kPersistentOverflow, "PO"},
}};

constexpr std::array<std::pair<SnapshotStatus::State, std::string_view>, 4> kStates = {{
    {SnapshotStatus::State::kInvalid, "Invalid"},
    {SnapshotStatus::State::kOverflow, "Overflow"},
    {SnapshotStatus::State::kMergeFailed, "Merge failed"},
    {SnapshotStatus::State::kUnknown, "Unknown"},
}};

Status ParseFeatures(std::string_view line, const SplitTableLine& split, Snapshot& target) {
  PP_ASSIGN_OR_RETURN(const uint64_t count, ParseNumber(split.parameters[kPlainParameters],
                                                        kFeaturesMax, "number of features"));
  if (split.parameters.size() != kPlainParameters + 1 + count) {
    return UserError(fmt::format("\"{}\" says {} features and has {}", line, count,
                                 split.parameters.size() - kPlainParameters - 1));
  }
  for (size_t i = kPlainParameters + 1; i < split.parameters.size(); ++i) {
    const std::string_view name = split.parameters[i];
    bool* flag = name == "discard_zeroes_cow"        ? &target.discard_zeroes_cow
                 : name == "discard_passdown_origin" ? &target.discard_passdown_origin
                                                     : nullptr;
    if (flag == nullptr || *flag) {
      return UserError(fmt::format(
          "\"{}\" has the feature \"{}\"; discard_zeroes_cow and discard_passdown_origin are "
          "known, each once",
          line, name));
    }
    *flag = true;
  }
  return OkStatus();
}

}  // namespace

std::string Snapshot::Parameters() const {
  std::string_view letter;
  for (const auto& [known, word] : kKinds) {
    if (known == kind) letter = word;
  }
  std::string words =
      fmt::format("{} {} {} {}", origin.ToString(), scratch.ToString(), letter, chunk.value);
  const int features = int{discard_zeroes_cow} + int{discard_passdown_origin};
  if (features > 0) words += fmt::format(" {}", features);
  if (discard_zeroes_cow) words += " discard_zeroes_cow";
  if (discard_passdown_origin) words += " discard_passdown_origin";
  return words;
}

std::string Snapshot::Line() const { return LineOfTarget(*this); }

Result<Snapshot> Snapshot::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, kPlainParameters,
                                                              kPlainParameters + 1 + kFeaturesMax));
  Snapshot target{.start = split.start, .length = split.length};
  PP_ASSIGN_OR_RETURN(target.origin, DeviceNumber::Parse(split.parameters[0]));
  PP_ASSIGN_OR_RETURN(target.scratch, DeviceNumber::Parse(split.parameters[1]));
  bool known = false;
  for (const auto& [kind, word] : kKinds) {
    if (word != split.parameters[2]) continue;
    target.kind = kind;
    known = true;
  }
  if (!known) {
    return UserError(fmt::format("\"{}\" is a snapshot of kind {}; N, P and PO are known", line,
                                 split.parameters[2]));
  }
  PP_ASSIGN_OR_RETURN(const uint64_t chunk,
                      ParseNumber(split.parameters[3], kSectorsMax, "chunk size in sectors"));
  target.chunk = Sectors(chunk);
  if (split.parameters.size() > kPlainParameters) {
    PP_RETURN_IF_ERROR(ParseFeatures(line, split, target));
  }
  return target;
}

std::string SnapshotOrigin::Parameters() const { return device.ToString(); }

std::string SnapshotOrigin::Line() const { return LineOfTarget(*this); }

Result<SnapshotOrigin> SnapshotOrigin::Parse(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLineOf(line, kType, 1, 1));
  PP_ASSIGN_OR_RETURN(const DeviceNumber device, DeviceNumber::Parse(split.parameters[0]));
  return SnapshotOrigin{split.start, split.length, device};
}

std::string SnapshotStatus::Line() const {
  for (const auto& [known, word] : kStates) {
    if (known == state) return std::string(word);
  }
  return fmt::format("{}/{} {}", allocated.value, total.value, metadata.value);
}

Result<SnapshotStatus> SnapshotStatus::Parse(std::string_view line) {
  SnapshotStatus status;
  for (const auto& [state, word] : kStates) {
    if (word != line) continue;
    status.state = state;
    return status;
  }
  const auto words = Words(line);
  const size_t slash = words.empty() ? std::string_view::npos : words[0].find('/');
  if (words.size() != 2 || slash == std::string_view::npos) {
    return UserError(fmt::format(
        "\"{}\" is no status of a snapshot: ALLOCATED/TOTAL METADATA is expected", line));
  }
  PP_ASSIGN_OR_RETURN(const uint64_t allocated,
                      ParseNumber(words[0].substr(0, slash), kSectorsMax, "number of sectors"));
  PP_ASSIGN_OR_RETURN(const uint64_t total,
                      ParseNumber(words[0].substr(slash + 1), kSectorsMax, "number of sectors"));
  PP_ASSIGN_OR_RETURN(const uint64_t metadata,
                      ParseNumber(words[1], kSectorsMax, "number of sectors"));
  status.allocated = Sectors(allocated);
  status.total = Sectors(total);
  status.metadata = Sectors(metadata);
  return status;
}

}  // namespace plugpull::dm
