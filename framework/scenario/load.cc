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
bool CheckBytes(std::string_view text, Reporter& reporter) {
  if (text.size() > kScenarioBytesMax.value) {
    reporter.Add({}, fmt::format("the scenario has {} bytes; at most {} are allowed", text.size(),
                                 kScenarioBytesMax.value));
    return false;
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    reporter.Add(PlaceOfByte(text, nul), "a NUL byte: a scenario is a text in UTF-8");
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
    reporter.Add({1, 1, ""}, "the scenario is empty; `plugpull new` writes one to start from");
    return false;
  }
  return true;
}

LoadOutcome Failed(Reporter& reporter) { return {std::nullopt, reporter.Take()}; }

}  // namespace

LoadOutcome LoadScenarioText(std::string_view text, const std::string& file) {
  Reporter reporter(file);
  if (!CheckBytes(text, reporter)) return Failed(reporter);
  LoadedScenario loaded;
  loaded.file = file;
  SyntaxResult syntax = ReadSyntax(text, Scenario::descriptor(), reporter);
  if (!syntax.complete) {
    // An incomplete reading without a diagnostic would be taken for success.
    PP_CHECK(!reporter.empty());
    return Failed(reporter);
  }
  loaded.source = std::move(syntax.source);
  ParseErrors errors(reporter);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(kNestingMax + 1);
  if (!parser.ParseFromString(syntax.good_text, &loaded.scenario)) {
    if (reporter.empty()) reporter.Add({}, "protobuf cannot parse this text, and does not say why");
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

LoadOutcome LoadScenarioFile(const std::string& path) {
  const auto failed = [&path](std::string message) {
    return LoadOutcome{std::nullopt, {{path, {}, std::move(message)}}};
  };
  if (!os::Exists(path)) return failed("there is no such file");
  if (os::IsFolder(path)) {
    return failed("this is a folder; name a scenario file in it, such as quickstart.textproto");
  }
  Result<std::string> text = os::ReadFile(path, kScenarioBytesMax);
  if (!text.ok()) return failed(text.error().message);
  return LoadScenarioText(*text, path);
}

Result<LoadedScenario> LoadScenario(const std::string& path) {
  LoadOutcome outcome = LoadScenarioFile(path);
  if (!outcome.ok()) return ToError(outcome.diagnostics);
  return *std::move(outcome.loaded);
}

}  // namespace plugpull::scenario
