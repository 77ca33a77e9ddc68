// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/klog.h"

#include <algorithm>
#include <array>

#include "framework/incident/journal_entry.h"
#include "framework/incident/klog_line.h"
#include "framework/incident/scan.h"

namespace plugpull::incident {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr uint64_t kSampleBytesMax = 1 << 20;  // that decide whether a log is text
constexpr std::string_view kLinuxVersion = "Linux version ";
constexpr size_t kReleaseBytesMax = 64;
constexpr size_t kHeadBytes = 4096;  // that decide on its form

// Without zero bytes, colours and other control characters; tabs and line ends become spaces. The
// text itself when it has none of them.
std::string_view Clean(std::string_view text, std::string& buffer) {
  const auto is_control = [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; };
  while (!text.empty() && (text.back() == '\r' || text.back() == '\0')) text.remove_suffix(1);
  if (std::none_of(text.begin(), text.end(), is_control)) return text;
  buffer.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '[') {  // ECMA-48, "CSI ... m"
      size_t end = i + 2;
      while (end < text.size() && (IsDigit(text[end]) || text[end] == ';')) ++end;
      i = std::min(end, text.size() - 1);
    } else if (text[i] == '\t' || text[i] == '\n') {
      buffer += ' ';
    } else if (!is_control(text[i])) {
      buffer += text[i];
    }
  }
  return buffer;
}

// How many bytes of the beginning no text in UTF-8 has, against all of them.
bool LooksBinary(std::string_view bytes) {
  const std::string_view sample = bytes.substr(0, kSampleBytesMax);
  uint64_t odd = 0;
  for (const char c : sample) {
    const auto byte = static_cast<uint8_t>(c);
    odd += (byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\x1b') || byte >= 0x7f;
  }
  return odd * 2 > sample.size();
}

class Reader {
 public:
  explicit Reader(const RecordSink& sink) : sink_(sink) {}

  void Lines(LogInput& input);
  void Entry(const JournalEntry* entry);
  KlogSummary Finish();
  KlogSummary& summary() { return summary_; }

 private:
  void Line(std::string_view raw);
  void Separator(std::string_view text);
  // What journald and printk say of messages that are not there.
  void CountMissed(std::string_view text);
  void Emit(std::string_view text, Stamp at, int priority);
  void NextBoot() {
    if (records_in_boot_ == 0) return;
    ++boot_;
    records_in_boot_ = 0;
    last_ = {};
  }

  const RecordSink& sink_;
  KlogSummary summary_;
  LineClock clock_;
  std::array<uint64_t, kLineForms> forms_{};
  std::string buffer_;
  std::string boot_id_;
  Stamp last_;
  Stamp continued_;
  int continued_priority_ = -1;
  uint32_t boot_ = 0;
  uint64_t records_in_boot_ = 0;
};

void Reader::Lines(LogInput& input) {
  std::string_view line;
  uint64_t length = 0;
  while (input.NextLine(kLineBytesMax, line, length)) {
    ++summary_.lines;
    if (length > kLineBytesMax) ++summary_.cut_lines;
    Line(line);
  }
}

void Reader::Separator(std::string_view text) {
  if (text.starts_with("-- Reboot") || text.starts_with("-- Boot")) NextBoot();
}

void Reader::Line(std::string_view raw) {
  const std::string_view line = Clean(raw, buffer_);
  if (line.empty()) return;
  if (line.starts_with("-- ")) return Separator(line);
  const ParsedLine parsed = ParseLine(line, clock_);
  if (!parsed.kernel) {
    ++summary_.foreign;
    CountMissed(parsed.text);
    return;
  }
  if (parsed.form == LineForm::kPlain && line.front() == ' ' &&
      continued_.clock != Stamp::Clock::kNone) {
    const size_t first = line.find_first_not_of(' ');
    if (first == std::string_view::npos) return;
    return Emit(line.substr(first), continued_, continued_priority_);
  }
  ++forms_[static_cast<size_t>(parsed.form)];
  continued_ = parsed.at;
  continued_priority_ = parsed.priority;
  Emit(parsed.text, parsed.at, parsed.priority);
}

void Reader::Entry(const JournalEntry* entry) {
  ++summary_.lines;
  if (entry == nullptr) {
    ++summary_.broken_entries;
    return;
  }
  if (!entry->kernel) {
    ++summary_.foreign;
    return CountMissed(entry->message);
  }
  if (!entry->boot_id.empty() && entry->boot_id != boot_id_) {
    if (!boot_id_.empty()) NextBoot();
    boot_id_ = entry->boot_id;
  }
  std::string_view rest = entry->message;
  for (bool first = true; !rest.empty(); first = false) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    // `dmesg -J -F` of util-linux 2.38 gives each message the whole rest of the file.
    if (!first && line.size() > 2 && line[0] == '<' && IsDigit(line[1])) return;
    if (line.size() > kLineBytesMax) ++summary_.cut_lines;
    line = Clean(line.substr(0, kLineBytesMax), buffer_);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (!line.empty()) Emit(line, entry->at, entry->priority);
  }
}

void Reader::CountMissed(std::string_view text) {
  constexpr std::string_view kMissed = "issed ";
  constexpr std::string_view kDropped = " printk messages dropped";
  const size_t missed = text.find(kMissed);
  if (missed != std::string_view::npos && text.find("kernel messages") != std::string_view::npos) {
    Scan scan(text.substr(missed + kMissed.size()));
    summary_.missed += static_cast<uint64_t>(scan.TakeNumber(1, 12).value_or(0));
  } else if (const size_t dropped = text.find(kDropped); dropped != std::string_view::npos) {
    size_t begin = dropped;
    while (begin > 0 && IsDigit(text[begin - 1])) --begin;
    Scan scan(text.substr(begin));
    summary_.missed += static_cast<uint64_t>(scan.TakeNumber(1, 12).value_or(0));
  }
}

void Reader::Emit(std::string_view text, Stamp at, int priority) {
  if (text.starts_with(kLinuxVersion)) {
    NextBoot();
    const std::string_view release = text.substr(kLinuxVersion.size());
    summary_.kernel = release.substr(0, std::min(release.find(' '), kReleaseBytesMax));
  }
  CountMissed(text);
  if (at.clock != Stamp::Clock::kNone) {
    if (at.clock == last_.clock && at.us < last_.us - kSecondUs) ++summary_.time_went_back;
    last_ = at;
  }
  ++records_in_boot_;
  ++summary_.records;
  KlogRecord record;
  record.line = summary_.lines;
  record.boot = boot_;
  record.at = at;
  record.priority = priority;
  record.text = text;
  sink_(record);
}

KlogSummary Reader::Finish() {
  summary_.boots = boot_ + 1;
  const auto most = std::max_element(forms_.begin(), forms_.end());
  if (*most > 0) {
    summary_.form = LineFormWords(static_cast<LineForm>(most - forms_.begin()));
  }
  return std::move(summary_);
}

}  // namespace

std::optional<int64_t> Elapsed(const Stamp& from, uint32_t from_boot, const Stamp& to,
                               uint32_t to_boot) {
  if (from.clock == Stamp::Clock::kNone || from.clock != to.clock) return std::nullopt;
  if (from.clock == Stamp::Clock::kBoot && from_boot != to_boot) return std::nullopt;
  // Lines of several processors may be out of order by a little.
  if (to.us < from.us)
    return from.us - to.us <= kSecondUs ? std::optional<int64_t>(0) : std::nullopt;
  return to.us - from.us;
}

KlogSummary ReadKlog(LogInput& input, const RecordSink& sink) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  Reader reader(sink);
  if (input.Peek(kByteOrderMark.size()) == kByteOrderMark) input.Skip(kByteOrderMark.size());
  reader.summary().binary = LooksBinary(input.Peek(kSampleBytesMax));
  const auto entry = [&](const JournalEntry* one) { reader.Entry(one); };
  const std::string_view head = input.Peek(kHeadBytes);
  const bool is_export = LooksLikeExport(head);
  const bool is_json = !is_export && LooksLikeJson(head);
  if (is_export) {
    ReadExport(input, entry);
  } else if (is_json) {
    ReadJson(input, entry);
  } else {
    reader.Lines(input);
  }
  KlogSummary summary = reader.Finish();
  if (is_export) summary.form = "journal export";
  if (is_json) summary.form = "JSON";
  return summary;
}

KlogSummary ReadKlog(std::string_view bytes, const RecordSink& sink) {
  LogInput input(bytes);
  return ReadKlog(input, sink);
}

}  // namespace plugpull::incident
