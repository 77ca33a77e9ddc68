// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/rules.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <limits>
#include <map>

#include "framework/proto/options.pb.h"
#include "framework/proto/scenario.pb.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

const FieldRule& RuleOf(const FieldDescriptor* field) {
  return field->options().GetExtension(rule);
}

class RuleChecker {
 public:
  explicit RuleChecker(Reporter& reporter) : reporter_(reporter) {}

  void Check(const Message& message, const SourceNode& source) {
    const auto* descriptor = message.GetDescriptor();
    for (int i = 0; i < descriptor->field_count(); ++i) {
      const FieldDescriptor* field = descriptor->field(i);
      if (field->is_repeated()) {
        CheckRepeated(message, field, source);
      } else {
        CheckSingular(message, field, source);
      }
    }
    for (int i = 0; i < descriptor->real_oneof_decl_count(); ++i) {
      CheckOneof(message, descriptor->oneof_decl(i), source);
    }
  }

 private:
  void CheckChild(const Message& child, const FieldDescriptor* field, int index,
                  const SourceNode& parent);
  void CheckRepeated(const Message& message, const FieldDescriptor* field,
                     const SourceNode& source);
  void CheckSingular(const Message& message, const FieldDescriptor* field,
                     const SourceNode& source);
  void CheckOneof(const Message& message, const OneofDescriptor* oneof, const SourceNode& source);
  void CheckNumber(const Message& message, const FieldDescriptor* field, const SourceLocation& at);
  void CheckText(const std::string& text, const FieldDescriptor* field, const SourceLocation& at);
  bool Matches(const std::string& text, const std::string& pattern);

  Reporter& reporter_;
  std::map<std::string, RE2> patterns_;  // compiling one costs more than using it
};

// A message without a node in the source is taken to stand where its parent does.
void RuleChecker::CheckChild(const Message& child, const FieldDescriptor* field, int index,
                             const SourceNode& parent) {
  if (const SourceNode* node = parent.Find(field->number(), index)) return Check(child, *node);
  Check(child, SourceNode{parent.name, parent.value, {}, {}});
}

void RuleChecker::CheckRepeated(const Message& message, const FieldDescriptor* field,
                                const SourceNode& source) {
  const auto* reflection = message.GetReflection();
  const FieldRule& rule = RuleOf(field);
  const int count = reflection->FieldSize(message, field);
  if (count < static_cast<int>(rule.items_min()) && !source.broken.contains(field->number())) {
    reporter_.Add(
        source.name,
        fmt::format("{} has {} `{}`; at least {} must be written", message.GetDescriptor()->name(),
                    count == 0 ? "no" : std::to_string(count), field->name(), rule.items_min()));
  }
  if (rule.has_items_max() && count > static_cast<int>(rule.items_max())) {
    // The first that is too many.
    reporter_.Add(source.Locate(field->number(), static_cast<int>(rule.items_max())),
                  fmt::format("{} is written {} times; at most {} are allowed", field->name(),
                              count, rule.items_max()));
  }
  for (int i = 0; i < count; ++i) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      CheckChild(reflection->GetRepeatedMessage(message, field, i), field, i, source);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      CheckText(reflection->GetRepeatedString(message, field, i), field,
                source.Locate(field->number(), i));
    }
  }
}

void RuleChecker::CheckSingular(const Message& message, const FieldDescriptor* field,
                                const SourceNode& source) {
  const auto* reflection = message.GetReflection();
  const FieldRule& rule = RuleOf(field);
  if (!reflection->HasField(message, field)) {
    if (rule.required() && !source.broken.contains(field->number())) {
      reporter_.Add(source.name, fmt::format("{} has no `{}`, which is required",
                                             message.GetDescriptor()->name(), field->name()));
    }
    return;
  }
  const SourceLocation& at = source.Locate(field->number());
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      CheckChild(reflection->GetMessage(message, field), field, 0, source);
      break;
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = reflection->GetString(message, field);
      if (rule.required() && text.empty()) {
        reporter_.Add(at, fmt::format("{} is empty; it is required", field->name()));
      } else {
        CheckText(text, field, at);
      }
      break;
    }
    default:
      CheckNumber(message, field, at);
  }
}

void RuleChecker::CheckNumber(const Message& message, const FieldDescriptor* field,
                              const SourceLocation& at) {
  const FieldRule& rule = RuleOf(field);
  if (!rule.has_min() && !rule.has_max()) return;
  const auto* reflection = message.GetReflection();
  // Rules are signed 64-bit numbers; a larger value is above every maximum.
  uint64_t number = 0;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
    number = reflection->GetUInt32(message, field);
  } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
    number = reflection->GetUInt64(message, field);
  } else {
    return;  // the language has no signed numbers
  }
  const bool below = rule.has_min() && number < static_cast<uint64_t>(rule.min());
  const bool above = rule.has_max() && number > static_cast<uint64_t>(rule.max());
  if (!below && !above) return;
  reporter_.Add(at, NumberMistake(field, std::to_string(number)));
}

bool RuleChecker::Matches(const std::string& text, const std::string& pattern) {
  return RE2::FullMatch(text, patterns_.try_emplace(pattern, pattern).first->second);
}

void RuleChecker::CheckText(const std::string& text, const FieldDescriptor* field,
                            const SourceLocation& at) {
  const FieldRule& rule = RuleOf(field);
  const size_t length_max = rule.has_length_max() ? rule.length_max() : kTextBytesMax;
  if (text.size() > length_max) {
    reporter_.Add(at, fmt::format("{} has {} bytes; at most {} are allowed", field->name(),
                                  text.size(), length_max));
  } else if (field->type() == FieldDescriptor::TYPE_BYTES) {
    return;  // any bytes
  } else if (text.find('\0') != std::string::npos) {
    reporter_.Add(
        at, fmt::format("{} is {}; a NUL byte is not allowed in it", field->name(), Quoted(text)));
  } else if (!IsUtf8(text)) {
    reporter_.Add(at, fmt::format("{} is {}, which is not UTF-8", field->name(), Quoted(text)));
  } else if (rule.has_pattern() && !Matches(text, rule.pattern())) {
    reporter_.Add(at, fmt::format("{} is {}; allowed: {}", field->name(), Quoted(text),
                                  rule.pattern_words()));
  }
}

void RuleChecker::CheckOneof(const Message& message, const OneofDescriptor* oneof,
                             const SourceNode& source) {
  if (message.GetReflection()->HasOneof(message, oneof)) return;
  std::vector<std::string> kinds;
  bool broken = source.broken.contains(0);  // an unknown field: perhaps it was meant as the kind
  for (int i = 0; i < oneof->field_count(); ++i) {
    kinds.push_back(oneof->field(i)->name());
    broken = broken || source.broken.contains(oneof->field(i)->number());
  }
  if (broken) return;
  reporter_.Add(source.name, fmt::format("{} has no kind; write one of {} in it",
                                         message.GetDescriptor()->name(), ListNames(kinds)));
}

}  // namespace

bool IsForAuthors(const FieldDescriptor* field) {
  return field->containing_type() != Step::descriptor() ||
         field->number() != Step::kLineFieldNumber;
}

std::string NumberMistake(const FieldDescriptor* field, const std::string& number) {
  const FieldRule& rule = RuleOf(field);
  const uint64_t type_max = field->cpp_type() == FieldDescriptor::CPPTYPE_UINT32
                                ? std::numeric_limits<uint32_t>::max()
                                : std::numeric_limits<uint64_t>::max();
  const std::string unit = rule.unit().empty() ? "" : " " + rule.unit();
  return fmt::format("{} is {}{}; allowed are {} to {}{}", field->name(), number, unit, rule.min(),
                     rule.has_max() ? static_cast<uint64_t>(rule.max()) : type_max, unit);
}

void CheckRules(const Message& message, const SourceNode& source, Reporter& reporter) {
  RuleChecker(reporter).Check(message, source);
}

}  // namespace plugpull::scenario
