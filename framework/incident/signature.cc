// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/signature.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "framework/incident/words.h"

namespace plugpull::incident {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "plugpull incident signature";
constexpr int kVersion = 1;
constexpr size_t kWordsMax = 64;       // of a list
constexpr size_t kWordBytesMax = 128;  // of one of them

std::string Words(const std::vector<std::string>& words) {
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, ", "));
}

// How much two sets have in common, of what either has.
double Overlap(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a.empty() && b.empty()) return 1;
  size_t common = 0;
  for (const std::string& word : a) common += std::count(b.begin(), b.end(), word) > 0;
  return static_cast<double>(common) / static_cast<double>(a.size() + b.size() - common);
}

// Longest common subsequence of two rounds that begin where they are written.
size_t Common(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<size_t> row(b.size() + 1, 0);
  for (const std::string& word : a) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(row[j], row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

// 1 for equal rounds, wherever they begin.
double CycleAgreement(std::vector<std::string> a, const std::vector<std::string>& b) {
  if (a.empty() && b.empty()) return 1;
  size_t best = 0;
  for (size_t turn = 0; turn < std::max<size_t>(a.size(), 1); ++turn) {
    best = std::max(best, Common(a, b));
    if (!a.empty()) std::rotate(a.begin(), a.begin() + 1, a.end());
  }
  return static_cast<double>(best) / static_cast<double>(std::max(a.size(), b.size()));
}

// Options that say what is so without them.
bool IsDefault(const std::string& option) {
  for (const char* one :
       {"data=ordered", "barrier", "barrier=1", "rw", "delalloc", "relatime", "errors=continue"}) {
    if (option == one) return true;
  }
  return false;
}

// The options that decide in which order writes reach the disk.
std::vector<std::string> OrderingOptions(const Signature& one) {
  std::vector<std::string> options;
  for (const std::string& option : one.options) {
    if (option.starts_with("data=") || option == "nobarrier") options.push_back(option);
  }
  return options;
}

Status ReadWords(const Json& json, const char* key, std::vector<std::string>& words) {
  if (!json.contains(key) || !json[key].is_array() || json[key].size() > kWordsMax) {
    return UserError(fmt::format("\"{}\" must be a list of at most {} texts", key, kWordsMax));
  }
  for (const Json& one : json[key]) {
    if (!one.is_string() || one.get_ref<const std::string&>().size() > kWordBytesMax) {
      return UserError(
          fmt::format("\"{}\" must hold texts of at most {} bytes", key, kWordBytesMax));
    }
    words.push_back(one.get<std::string>());
  }
  return OkStatus();
}

Status ReadFlag(const Json& json, const char* key, bool& flag) {
  if (!json.contains(key) || !json[key].is_boolean()) {
    return UserError(fmt::format("\"{}\" must be true or false", key));
  }
  flag = json[key].get<bool>();
  return OkStatus();
}

// A number from 0 to `max`, or null.
Status ReadNumber(const Json& json, const char* key, double max, std::optional<double>& number) {
  if (!json.contains(key) || (!json[key].is_number() && !json[key].is_null())) {
    return UserError(fmt::format("\"{}\" must be a number or null", key));
  }
  if (json[key].is_null()) return OkStatus();
  number = json[key].get<double>();
  if (!(*number >= 0 && *number <= max)) {
    return UserError(fmt::format("\"{}\" is {}; it is between 0 and {}", key, *number, max));
  }
  return OkStatus();
}

class Comparer {
 public:
  void Add(const std::string& name, double weight, double agrees, const std::string& reason) {
    comparison_.parts.push_back({name, weight, agrees, true, reason});
  }
  void Unknown(const std::string& name, double weight, const std::string& reason) {
    comparison_.parts.push_back({name, weight, 0, false, reason});
  }
  Comparison Finish(bool may_match) {
    double sum = 0;
    double weights = 0;
    for (const auto& part : comparison_.parts) {
      if (!part.known) continue;
      sum += part.weight * part.agrees;
      weights += part.weight;
    }
    comparison_.score = weights > 0 ? sum / weights : 0;
    comparison_.match = may_match && comparison_.score >= kScoreMatch;
    return std::move(comparison_);
  }

 private:
  Comparison comparison_;
};

std::string Both(const std::string& field, const std::string& reproduced) {
  return field == reproduced ? field : fmt::format("{}; reproduced: {}", field, reproduced);
}

std::string ErrorWords(const Signature& one) {
  std::vector<std::string> words;
  if (one.io_errors) words.emplace_back("I/O");
  if (one.journal_errors) words.emplace_back("journal");
  if (one.file_system_errors) words.emplace_back("file system");
  return Words(words);
}

}  // namespace

Signature SignatureOf(const DeviceReport& report) {
  Signature signature;
  signature.file_system = FileSystemName(report.fs);
  for (const std::string& option : report.options) {
    if (IsDefault(option)) continue;
    signature.options.push_back(option == "barrier=0" ? "nobarrier" : option);
  }
  std::sort(signature.options.begin(), signature.options.end());
  for (int i = 1; i < kFailures; ++i) {
    if (report.failures[static_cast<size_t>(i)] > 0) {
      signature.failures.emplace_back(FailureWords(static_cast<Failure>(i)));
    }
  }
  std::sort(signature.failures.begin(), signature.failures.end());
  signature.attempted = report.attempts > 0;
  if (signature.attempted) {
    signature.success_share =
        static_cast<double>(report.mounts) / static_cast<double>(report.attempts);
  }
  if (report.verdict.loop) {
    signature.loop = true;
    signature.cycle = EventWords(*report.verdict.loop);
    if (report.verdict.loop->period) signature.period_s = report.verdict.loop->period->median_s;
  }
  signature.io_errors = report.io_errors > 0;
  signature.journal_errors = report.journal_errors > 0;
  signature.file_system_errors = report.file_system_errors > 0;
  return signature;
}

std::string RenderSignature(const Signature& signature) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"filesystem", signature.file_system},
               {"options", signature.options},
               {"loop", signature.loop},
               {"cycle", signature.cycle},
               {"period_s", nullptr},
               {"failures", signature.failures},
               {"success_share", nullptr},
               {"io_errors", signature.io_errors},
               {"journal_errors", signature.journal_errors},
               {"filesystem_errors", signature.file_system_errors}};
  if (signature.period_s) json["period_s"] = *signature.period_s;
  if (signature.attempted) json["success_share"] = signature.success_share;
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool LooksLikeSignature(std::string_view bytes) {
  return bytes.size() <= kSignatureBytesMax && bytes.starts_with('{') &&
         bytes.substr(0, 256).find(kFormat) != std::string_view::npos;
}

Result<Signature> ParseSignature(std::string_view text) {
  if (text.size() > kSignatureBytesMax) {
    return UserError(fmt::format("a signature has at most {} bytes", kSignatureBytesMax));
  }
  const Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return UserError("it is not JSON; write it again with incident import");
  if (!json.contains("format") || json["format"] != kFormat) {
    return UserError(fmt::format("\"format\" is not \"{}\"", kFormat));
  }
  if (!json.contains("version") || json["version"] != kVersion) {
    return UserError(
        fmt::format("its version is not {}; write it again with this program", kVersion));
  }
  Signature signature;
  if (!json.contains("filesystem") || !json["filesystem"].is_string() ||
      json["filesystem"].get_ref<const std::string&>().size() > kWordBytesMax) {
    return UserError("\"filesystem\" must be a text");
  }
  signature.file_system = json["filesystem"].get<std::string>();
  PP_RETURN_IF_ERROR(ReadWords(json, "options", signature.options));
  PP_RETURN_IF_ERROR(ReadWords(json, "cycle", signature.cycle));
  PP_RETURN_IF_ERROR(ReadWords(json, "failures", signature.failures));
  PP_RETURN_IF_ERROR(ReadFlag(json, "loop", signature.loop));
  PP_RETURN_IF_ERROR(ReadFlag(json, "io_errors", signature.io_errors));
  PP_RETURN_IF_ERROR(ReadFlag(json, "journal_errors", signature.journal_errors));
  PP_RETURN_IF_ERROR(ReadFlag(json, "filesystem_errors", signature.file_system_errors));
  PP_RETURN_IF_ERROR(ReadNumber(json, "period_s", 1e12, signature.period_s));
  std::optional<double> share;
  PP_RETURN_IF_ERROR(ReadNumber(json, "success_share", 1, share));
  signature.attempted = share.has_value();
  signature.success_share = share.value_or(0);
  std::sort(signature.options.begin(), signature.options.end());
  std::sort(signature.failures.begin(), signature.failures.end());
  return signature;
}

Comparison Compare(const Signature& field, const Signature& reproduced) {
  Comparer comparer;
  const auto loop_words = [](const Signature& one) { return one.loop ? "a loop" : "no loop"; };
  comparer.Add("loop", 20, field.loop == reproduced.loop ? 1 : 0,
               Both(loop_words(field), loop_words(reproduced)));
  if (field.loop || reproduced.loop) {
    comparer.Add("cycle", 25, CycleAgreement(field.cycle, reproduced.cycle),
                 Both(Words(field.cycle), Words(reproduced.cycle)));
  } else {
    comparer.Unknown("cycle", 25, "neither loops");
  }
  comparer.Add("options", 20, Overlap(field.options, reproduced.options),
               Both(Words(field.options), Words(reproduced.options)));
  comparer.Add("failures", 15, Overlap(field.failures, reproduced.failures),
               Both(Words(field.failures), Words(reproduced.failures)));
  const bool fs_known = !field.file_system.empty() && !reproduced.file_system.empty();
  const bool fs_same = field.file_system == reproduced.file_system;
  if (fs_known) {
    comparer.Add("file system", 5, fs_same ? 1 : 0,
                 Both(field.file_system, reproduced.file_system));
  } else {
    comparer.Unknown("file system", 5, "not known to both");
  }
  if (field.attempted && reproduced.attempted) {
    const auto share = [](const Signature& one) {
      return fmt::format("{:.0f} % of the mounts succeeded", one.success_share * 100);
    };
    comparer.Add("share", 5, 1 - std::abs(field.success_share - reproduced.success_share),
                 Both(share(field), share(reproduced)));
  } else {
    comparer.Unknown("share", 5, "not both have mounts");
  }
  if (field.period_s && reproduced.period_s) {
    const double low = std::min(*field.period_s, *reproduced.period_s);
    const double high = std::max(*field.period_s, *reproduced.period_s);
    comparer.Add("period", 5, high > 0 ? low / high : 1,
                 Both(DurationWords(*field.period_s), DurationWords(*reproduced.period_s)));
  } else {
    comparer.Unknown("period", 5, "not both have times");
  }
  const int same_errors = (field.io_errors == reproduced.io_errors) +
                          (field.journal_errors == reproduced.journal_errors) +
                          (field.file_system_errors == reproduced.file_system_errors);
  comparer.Add("errors", 5, same_errors / 3.0, Both(ErrorWords(field), ErrorWords(reproduced)));
  const bool same_order = OrderingOptions(field) == OrderingOptions(reproduced);
  return comparer.Finish(field.loop == reproduced.loop && (!fs_known || fs_same) && same_order);
}

std::string RenderComparisonJson(const Comparison& comparison) {
  Json json = {{"match", comparison.match},
               {"score", std::round(comparison.score * 1000) / 1000},
               {"needed", kScoreMatch},
               {"parts", Json::array()}};
  for (const auto& part : comparison.parts) {
    json["parts"].push_back({{"name", part.name},
                             {"weight", part.weight},
                             {"agrees", part.known ? Json(part.agrees) : Json(nullptr)},
                             {"reason", part.reason}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace plugpull::incident
