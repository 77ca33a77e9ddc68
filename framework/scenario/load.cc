// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/load.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>

#include "framework/os/file.h"
#include "framework/scenario/syntax.h"
#include "framework/scenario/validate.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

// What protobuf's parser still has to say about a text that ReadSyntax has passed.
class ParseErrors : public google::protobuf::io::ErrorCollector {
 public:
  explicit ParseErrors(Reporter& reporter) : reporter_(reporter) {}
  void AddError(int line, int column, const std::string& message) override {
    // Line -1: about the whole text.
    reporter_.Add({static_cast<uint32_t>(std::max(line, 0)) + 1,
                   static_cast<uint32_t>(std::max(column, 0)) + 1, ""},
                  message);
  }
  // Deprecated fields, of which there are none.
  void AddWarning(int, int, const std::string&) override {}

 private:
  Reporter& reporter_;
};

SourceLocation PlaceOfByte(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, byte);
  const auto lines = std::count(before.begin(), before.end(), '\n');
  const size_t start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return {static_cast<uint32_t>(lines) + 1, static_cast<uint32_t>(byte - start) + 1, ""};
}

// Bytes that no scenario has; false when there are any.
bool CheckBytes(std::string_view text, const char* what, Reporter& reporter) {
  if (text.size() > kScenarioBytesMax.value) {
    reporter.Add({}, fmt::format("the {} has {} bytes; at most {} are allowed", what, text.size(),
                                 kScenarioBytesMax.value));
    return false;
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    reporter.Add(PlaceOfByte(text, nul), fmt::format("a NUL byte: a {} is a text in UTF-8", what));
    return false;
  }
  if (!IsUtf8(text)) {
    // The longest good beginning, cut where a line ends or in the line itself.
    size_t line_start = 0;
    for (size_t end = text.find('\n'); end != std::string_view::npos && line_start < text.size();
         end = text.find('\n', line_start)) {
      if (!IsUtf8(text.substr(line_start, end - line_start))) break;
      line_start = end + 1;
    }
    reporter.Add(PlaceOfByte(text, line_start), "this line is not UTF-8: save the file as UTF-8");
    return false;
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    reporter.Add({1, 1, ""}, std::string_view(what) == "scenario"
                                 ? "the scenario is empty; `plugpull new` writes one to start from"
                                 : fmt::format("the {} is empty", what));
    return false;
  }
  return true;
}

LoadOutcome Failed(Reporter& reporter) { return {std::nullopt, reporter.Take()}; }

}  // namespace

bool ParseText(std::string_view text, const char* what, google::protobuf::Message& message,
               SourceNode& source, Reporter& reporter) {
  if (!CheckBytes(text, what, reporter)) return false;
  SyntaxResult syntax = ReadSyntax(text, message.GetDescriptor(), reporter);
  if (!syntax.complete) {
    // An incomplete reading without a diagnostic would be taken for success.
    PP_CHECK(!reporter.empty());
    return false;
  }
  source = std::move(syntax.source);
  ParseErrors errors(reporter);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(kNestingMax + 1);
  if (parser.ParseFromString(syntax.good_text, &message)) return true;
  if (reporter.empty()) reporter.Add({}, "protobuf cannot parse this text, and does not say why");
  return false;
}

LoadOutcome LoadScenarioText(std::string_view text, const std::string& file) {
  Reporter reporter(file);
  LoadedScenario loaded;
  loaded.file = file;
  if (!ParseText(text, "scenario", loaded.scenario, loaded.source, reporter)) {
    return Failed(reporter);
  }
  ValidateInto(loaded.scenario, loaded.source, reporter);
  if (!reporter.empty()) return Failed(reporter);
  for (int i = 0; i < loaded.scenario.step_size(); ++i) {
    const SourceNode* node = loaded.source.Find(Scenario::kStepFieldNumber, i);
    loaded.scenario.mutable_step(i)->set_line(node == nullptr ? 0 : node->name.line);
  }
  return {std::move(loaded), {}};
}

Result<std::string> ReadTextFile(const std::string& path, const char* what) {
  if (!os::Exists(path)) return UserError("there is no such file");
  if (os::IsFolder(path)) {
    return UserError(
        fmt::format("this is a folder; name a {} file in it, such as quickstart.textproto", what));
  }
  return os::ReadFile(path, kScenarioBytesMax);
}

LoadOutcome LoadScenarioFile(const std::string& path) {
  const Result<std::string> text = ReadTextFile(path, "scenario");
  if (!text.ok()) return {std::nullopt, {{path, {}, text.error().message}}};
  return LoadScenarioText(*text, path);
}

Result<LoadedScenario> LoadScenario(const std::string& path) {
  LoadOutcome outcome = LoadScenarioFile(path);
  if (!outcome.ok()) return ToError(outcome.diagnostics);
  return *std::move(outcome.loaded);
}

}  // namespace plugpull::scenario
