// SPDX-License-Identifier: Apache-2.0
#include "framework/recording/text_proto.h"

#include <fmt/format.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <string>

namespace plugpull::recording {
namespace {

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text.empty()) text = fmt::format("line {}, column {}: {}", line + 1, column + 1, message);
  }
  std::string text;
};

}  // namespace

Status ParseTextProto(std::string_view text, UnknownFields unknown,
                      google::protobuf::Message& message) {
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.AllowUnknownField(unknown == UnknownFields::kSkip);
  if (parser.ParseFromString(std::string(text), &message)) return OkStatus();
  return UserError(error.text.empty() ? "a field that is required is missing" : error.text);
}

}  // namespace plugpull::recording
