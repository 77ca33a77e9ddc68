// SPDX-License-Identifier: Apache-2.0
#include "vm/kernels/apt_sources.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

namespace plugpull::vm {
namespace {

constexpr char kSecuritySuffix[] = "-security";
// Suites of Debian that are alive or archived lately, and the names that move with releases.
constexpr std::array<std::string_view, 13> kDebianSuites = {
    "buster", "bullseye", "bookworm", "trixie",       "forky",     "duke",        "sid",
    "stable", "testing",  "unstable", "experimental", "oldstable", "oldoldstable"};
constexpr std::array<std::string_view, 4> kSuiteSuffixes = {"", "-updates", "-backports",
                                                            "-proposed-updates"};

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < text.size()) {
    const size_t start = text.find_first_not_of(" \t\r\n", at);
    if (start == std::string_view::npos) break;
    at = std::min(text.find_first_of(" \t\r\n", start), text.size());
    words.emplace_back(text.substr(start, at - start));
  }
  return words;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// Fields of one stanza by lower-case name; continuation lines are joined with a space.
using Stanza = std::map<std::string, std::string>;

std::vector<Stanza> ParseStanzas(std::string_view text) {
  std::vector<Stanza> stanzas(1);
  std::string* field = nullptr;
  for (const std::string_view line : Lines(text)) {
    if (line.starts_with('#')) continue;
    if (line.find_first_not_of(" \t") == std::string_view::npos) {
      if (!stanzas.back().empty()) stanzas.emplace_back();
      field = nullptr;
    } else if (line.front() == ' ' || line.front() == '\t') {
      if (field != nullptr) field->append(" ").append(line);
    } else {
      const size_t colon = line.find(':');
      field =
          colon == std::string_view::npos ? nullptr : &stanzas.back()[Lower(line.substr(0, colon))];
      if (field != nullptr) *field = line.substr(colon + 1);
    }
  }
  if (stanzas.back().empty()) stanzas.pop_back();
  return stanzas;
}

bool Contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool IsDebianSuite(std::string_view suite) {
  for (const auto name : kDebianSuites) {
    for (const auto suffix : kSuiteSuffixes) {
      if (suite == std::string(name).append(suffix)) return true;
    }
  }
  return false;
}

bool IsDebianSecuritySuite(std::string_view suite) {
  if (!suite.ends_with(kSecuritySuffix)) return false;
  suite.remove_suffix(std::string_view(kSecuritySuffix).size());
  return std::find(kDebianSuites.begin(), kDebianSuites.end(), suite) != kDebianSuites.end();
}

}  // namespace

std::vector<AptSource> ParseOneLineSources(std::string_view text) {
  std::vector<AptSource> sources;
  for (std::string_view line : Lines(text)) {
    line = line.substr(0, line.find('#'));
    std::vector<std::string> words = Words(line);
    if (words.empty() || words[0] != "deb") continue;
    words.erase(words.begin());
    if (!words.empty() && words[0].starts_with('[')) {  // options, up to the closing bracket
      const auto close = std::find_if(words.begin(), words.end(),
                                      [](const std::string& word) { return word.ends_with(']'); });
      if (close == words.end()) continue;
      words.erase(words.begin(), close + 1);
    }
    if (words.size() < 2) continue;
    sources.push_back({{words[0]}, {words[1]}, {words.begin() + 2, words.end()}});
  }
  return sources;
}

std::vector<AptSource> ParseDeb822Sources(std::string_view text) {
  std::vector<AptSource> sources;
  for (const Stanza& stanza : ParseStanzas(text)) {
    const auto words = [&](const char* field) {
      const auto it = stanza.find(field);
      return it == stanza.end() ? std::vector<std::string>() : Words(it->second);
    };
    const auto enabled = words("enabled");
    const bool off =
        !enabled.empty() && (Lower(enabled[0]) == "no" || Lower(enabled[0]) == "false");
    AptSource source{words("uris"), words("suites"), words("components")};
    if (off || !Contains(words("types"), "deb") || source.uris.empty() || source.suites.empty()) {
      continue;
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

DebianMirrors ChooseDebianMirrors(const std::vector<AptSource>& sources) {
  DebianMirrors mirrors;
  for (const AptSource& source : sources) {
    if (!Contains(source.components, "main") || source.uris[0].starts_with("cdrom:")) continue;
    for (const std::string& suite : source.suites) {
      if (mirrors.main.empty() && IsDebianSuite(suite)) mirrors.main = source.uris[0];
      if (mirrors.security.empty() && IsDebianSecuritySuite(suite)) {
        mirrors.security = source.uris[0];
      }
    }
  }
  return mirrors;
}

Result<PackageRecord> ParsePackageRecord(std::string_view text) {
  const auto stanzas = ParseStanzas(text);
  PackageRecord record;
  if (!stanzas.empty()) {
    const Stanza& stanza = stanzas.front();
    if (const auto it = stanza.find("version"); it != stanza.end()) {
      const auto words = Words(it->second);
      if (!words.empty()) record.version = words[0];
    }
    if (const auto it = stanza.find("depends"); it != stanza.end()) {
      std::string_view rest = it->second;
      while (!rest.empty()) {
        const size_t comma = std::min(rest.find(','), rest.size());
        const auto words = Words(rest.substr(0, comma));
        if (!words.empty()) record.depends.push_back(words[0].substr(0, words[0].find(':')));
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    }
  }
  if (record.version.empty()) {
    return EnvironmentError("apt-cache gave a package record without a Version");
  }
  return record;
}

}  // namespace plugpull::vm
