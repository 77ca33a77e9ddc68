// SPDX-License-Identifier: Apache-2.0
// scenario.proto, with what it imports, is the reference of the language: every field says what it
// is, and its rule can be read by the validator.
#include <gtest/gtest.h>
#include <re2/re2.h>

#include <sstream>

#include "framework/os/file.h"
#include "framework/proto/options.pb.h"
#include "framework/proto/scenario.pb.h"

namespace plugpull::scenario {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

template <typename Visit>
void ForEachField(const Descriptor* message, const Visit& visit) {
  for (int i = 0; i < message->field_count(); ++i) visit(message->field(i));
  for (int i = 0; i < message->nested_type_count(); ++i) {
    ForEachField(message->nested_type(i), visit);
  }
}

// scenario.proto, and what it imports of the language.
const std::vector<const FileDescriptor*>& LanguageFiles() {
  static const std::vector<const FileDescriptor*> files = {Scenario::descriptor()->file(),
                                                           CorruptStep::descriptor()->file()};
  return files;
}

// Works on the text: what protoc makes of the file has no comments.
void ExpectComments(const FileDescriptor* file) {
  const auto text =
      os::ReadFile(std::string(PLUGPULL_SOURCE_DIR) + "/" + file->name(), Mebibytes(1));
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  const RE2 field_start(
      R"(\s*(optional|repeated|bool|uint32|uint64|string|bytes|[A-Z]\w+)\s+[\w.]+(\s+\w+)?\s*=\s*\d+.*)");
  std::istringstream lines(*text);
  int fields = 0;
  int number = 0;
  bool comment_above = false;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const size_t first = line.find_first_not_of(' ');
    if (first != std::string::npos && RE2::FullMatch(line, field_start)) {
      ++fields;
      std::string whole = line;  // up to its semicolon
      while (whole.find(';') == std::string::npos && std::getline(lines, line)) {
        ++number;
        whole += line;
      }
      const bool beside = whole.find("//", whole.find(';')) != std::string::npos;
      EXPECT_TRUE(comment_above || beside)
          << file->name() << ":" << number << ": no comment above or beside " << whole;
      comment_above = false;
      continue;
    }
    comment_above = first != std::string::npos && line.compare(first, 2, "//") == 0;
  }
  int declared = 0;
  for (int i = 0; i < file->message_type_count(); ++i) {
    ForEachField(file->message_type(i), [&declared](const FieldDescriptor*) { ++declared; });
  }
  EXPECT_EQ(fields, declared) << "this test does not see every field";
}

TEST(ScenarioProtoTest, EveryFieldHasAComment) {
  for (const FileDescriptor* file : LanguageFiles()) ExpectComments(file);
}

// The validator relies on all of these.
void ExpectSensibleRules(const FileDescriptor* file) {
  for (int i = 0; i < file->message_type_count(); ++i) {
    ForEachField(file->message_type(i), [](const FieldDescriptor* field) {
      const FieldRule& found = field->options().GetExtension(rule);
      SCOPED_TRACE(field->full_name());
      EXPECT_NE(field->cpp_type(), FieldDescriptor::CPPTYPE_DOUBLE);
      EXPECT_NE(field->cpp_type(), FieldDescriptor::CPPTYPE_FLOAT);
      EXPECT_GE(found.min(), 0);
      if (found.has_max()) {
        EXPECT_LE(found.min(), found.max());
      }
      EXPECT_EQ(found.has_pattern(), found.has_pattern_words());
      EXPECT_TRUE(RE2(found.pattern()).ok()) << found.pattern();
      if (field->is_repeated()) {
        EXPECT_TRUE(found.has_items_max()) << "a list without a limit";
      }
      if (found.has_max() && field->has_default_value()) {
        const uint64_t value = field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32
                                   ? field->default_value_uint32()
                                   : field->default_value_uint64();
        EXPECT_GE(value, static_cast<uint64_t>(found.min()));
        EXPECT_LE(value, static_cast<uint64_t>(found.max()));
      }
    });
  }
}

TEST(ScenarioProtoTest, EveryRuleMakesSense) {
  for (const FileDescriptor* file : LanguageFiles()) ExpectSensibleRules(file);
}

}  // namespace
}  // namespace plugpull::scenario
