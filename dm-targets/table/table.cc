// SPDX-License-Identifier: Apache-2.0
#include "dm-targets/table/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "dm-targets/table/line.h"

namespace plugpull::dm {
namespace {

template <typename T>
struct Kind {
  using Type = T;
};

// Calls `visit` with a Kind of each target type, until it says true.
template <typename Visit, typename... T>
bool AnyTypeOf(std::variant<T...>* /*of*/, Visit visit) {
  return (visit(Kind<T>{}) || ...);
}

// The end of a target in a device below.
Status CheckOffset(const Target& target, Sectors offset, Sectors length) {
  if (offset.value <= kSectorsMax - length.value) return OkStatus();
  return UserError(fmt::format("\"{}\" ends beyond sector {} of its device, the last possible one",
                               LineOf(target), kSectorsMax));
}

Status CheckStriped(const Target& target, const Striped& striped) {
  const auto refuse = [&](const std::string& why) {
    return UserError(fmt::format("\"{}\" is refused by every kernel: {}", LineOf(target), why));
  };
  if (striped.stripes.empty() || striped.stripes.size() > Striped::kStripesMax) {
    return refuse(fmt::format("1 to {} stripes are possible", Striped::kStripesMax));
  }
  if (striped.chunk.value == 0 || striped.chunk.value > UINT32_MAX) {
    return refuse("the chunk must have 1 to 4294967295 sectors");
  }
  const uint64_t round = striped.chunk.value * striped.stripes.size();
  if (striped.length.value % round != 0) {
    return refuse(
        fmt::format("its length is no multiple of {} sectors, one chunk on each stripe", round));
  }
  for (const auto& stripe : striped.stripes) {
    PP_RETURN_IF_ERROR(
        CheckOffset(target, stripe.offset, Sectors(striped.length.value / striped.stripes.size())));
  }
  return OkStatus();
}

Status CheckParameters(const Target& target) {
  if (const auto* linear = std::get_if<Linear>(&target)) {
    return CheckOffset(target, linear->offset, linear->length);
  }
  if (const auto* flakey = std::get_if<Flakey>(&target)) {
    PP_RETURN_IF_ERROR(flakey->Check());
    return CheckOffset(target, flakey->offset, flakey->length);
  }
  if (const auto* striped = std::get_if<Striped>(&target)) return CheckStriped(target, *striped);
  if (const auto* delay = std::get_if<Delay>(&target)) {
    if (delay->flush && !delay->write) {
      return UserError("a delay of flushes needs one of writes: the kernel reads them in order");
    }
    PP_RETURN_IF_ERROR(CheckOffset(target, delay->read.offset, delay->length));
    if (delay->write) {
      PP_RETURN_IF_ERROR(CheckOffset(target, delay->write->offset, delay->length));
    }
    if (delay->flush) return CheckOffset(target, delay->flush->offset, delay->length);
  }
  if (const auto* snapshot = std::get_if<Snapshot>(&target)) {
    if (!std::has_single_bit(snapshot->chunk.value)) {
      return UserError(
          fmt::format("\"{}\": the chunk of a snapshot is a power of two", LineOf(target)));
    }
    if (snapshot->discard_passdown_origin && !snapshot->discard_zeroes_cow) {
      return UserError(
          fmt::format("\"{}\": discard_passdown_origin is only possible with discard_zeroes_cow",
                      LineOf(target)));
    }
  }
  return OkStatus();
}

}  // namespace

std::string_view TypeOf(const Target& target) {
  return std::visit([](const auto& t) { return std::string_view(t.kType); }, target);
}

Sectors StartOf(const Target& target) {
  return std::visit([](const auto& t) { return t.start; }, target);
}

Sectors LengthOf(const Target& target) {
  return std::visit([](const auto& t) { return t.length; }, target);
}

std::string ParametersOf(const Target& target) {
  return std::visit([](const auto& t) { return t.Parameters(); }, target);
}

std::string LineOf(const Target& target) {
  return std::visit([](const auto& t) { return t.Line(); }, target);
}

Result<Target> ParseLine(std::string_view line) {
  PP_ASSIGN_OR_RETURN(const SplitTableLine split, SplitLine(line));
  Result<Target> parsed = UserError("");
  std::string known;
  const bool found = AnyTypeOf(static_cast<Target*>(nullptr), [&]<typename T>(Kind<T>) {
    known += (known.empty() ? "" : ", ") + std::string(T::kType);
    if (split.type != T::kType) return false;
    auto target = T::Parse(line);
    parsed = target.ok() ? Result<Target>(Target(*std::move(target)))
                         : Result<Target>(std::move(target).error());
    return true;
  });
  if (found) return parsed;
  return UserError(
      fmt::format("\"{}\" has the unknown target type {}; known are {}", line, split.type, known));
}

Status Validate(const Table& table) {
  if (table.empty() || table.size() > kTargetsMax) {
    return UserError(
        fmt::format("a table has 1 to {} targets, this one {}", kTargetsMax, table.size()));
  }
  Sectors expected_start;
  for (const auto& target : table) {
    const Sectors length = LengthOf(target);
    if (StartOf(target) != expected_start) {
      return UserError(fmt::format("\"{}\" must begin at sector {}, where the one before it ends",
                                   LineOf(target), expected_start.value));
    }
    if (length.value == 0 || length.value > kSectorsMax - expected_start.value) {
      return UserError(fmt::format("\"{}\" has a length of {} sectors; 1 to {} are possible there",
                                   LineOf(target), length.value,
                                   kSectorsMax - expected_start.value));
    }
    PP_RETURN_IF_ERROR(CheckParameters(target));
    expected_start += length;
  }
  return OkStatus();
}

bool SameMeaning(const Table& asked, const Table& reported) {
  const auto canonical = [](const Target& target) -> Target {
    const auto* flakey = std::get_if<Flakey>(&target);
    return flakey == nullptr ? target : Target(flakey->Canonical());
  };
  return std::equal(asked.begin(), asked.end(), reported.begin(), reported.end(),
                    [&](const Target& a, const Target& b) { return canonical(a) == canonical(b); });
}

std::string ToString(const Table& table) {
  std::string text;
  for (const auto& target : table) text += (text.empty() ? "" : "\n") + LineOf(target);
  return text;
}

}  // namespace plugpull::dm
