// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "framework/scenario/rules.h"
#include "framework/scenario/tokens.h"
#include "framework/scenario/words.h"

namespace plugpull::scenario {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::io::Tokenizer;

std::vector<std::string> FieldNames(const Descriptor* message) {
  std::vector<std::string> names;
  names.reserve(static_cast<size_t>(message->field_count()));
  for (int i = 0; i < message->field_count(); ++i) {
    if (IsForAuthors(message->field(i))) names.push_back(message->field(i)->name());
  }
  return names;
}

// A value that means "not set" is not offered.
std::vector<std::string> ValueNames(const EnumDescriptor* values) {
  std::vector<std::string> names;
  for (int i = 0; i < values->value_count(); ++i) {
    const std::string& name = values->value(i)->name();
    if (!name.ends_with("UNSPECIFIED")) names.push_back(name);
  }
  return names;
}

// What may stand behind the name of a field, in words.
std::string ValueInWords(const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return fmt::format("a group: {} {{ ... }}", field->name());
    case FieldDescriptor::CPPTYPE_STRING:
      return fmt::format("a text in quotes: {}: \"...\"", field->name());
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return fmt::format("one of {}", ListNames(ValueNames(field->enum_type())));
    default:
      return "a whole number";
  }
}

// The largest number of an integer field's type; nothing for other fields. The language has no
// signed numbers.
std::optional<uint64_t> LargestNumber(const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::numeric_limits<uint32_t>::max();
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::numeric_limits<uint64_t>::max();
    default:
      return std::nullopt;
  }
}

class SyntaxReader {
 public:
  SyntaxReader(std::string_view text, const Descriptor* root, Reporter& reporter)
      : root_(root), reporter_(reporter), tokens_(text, reporter), good_text_(text) {}

  SyntaxResult Run() {
    SyntaxResult result;
    result.source.name = {1, 1, ""};
    result.source.value = result.source.name;
    const bool read = ReadFields(root_, result.source, '\0', 0);
    result.complete = read && !tokens_.failed();
    result.good_text = std::move(good_text_);
    return result;
  }

 private:
  // The functions below return false when the reading cannot go on.

  bool ReadFields(const Descriptor* message, SourceNode& node, char closing, int depth);
  bool ReadField(const Descriptor* message, SourceNode& node, int depth);
  bool ReadValues(const FieldDescriptor* field, const SourceLocation& name, SourceNode& node,
                  bool colon, int depth, bool& good);
  bool ReadList(const FieldDescriptor* field, const SourceLocation& name,
                std::vector<SourceNode>& values, int depth, bool& good);
  bool ReadMessage(const FieldDescriptor* field, SourceNode& value, int depth, bool& good);
  bool ReadScalar(const FieldDescriptor* field, bool& good);
  bool ReadInteger(const FieldDescriptor* field, uint64_t max, bool& good);
  bool ReadEnum(const FieldDescriptor* field, bool& good);
  bool WrongValue(const FieldDescriptor* field, bool& good);
  bool SkipValue();
  bool SkipBrackets();
  bool UnknownField(const Descriptor* message, const Token& name, SourceNode& node);
  bool Extension();

  // Diagnoses a field that this message has already; false: it may be there.
  bool WrittenBefore(const Descriptor* message, const FieldDescriptor* field, const Token& name,
                     const SourceNode& node);

  bool Stop(std::string message) {
    reporter_.Add(tokens_.current().at, std::move(message));
    return false;
  }
  std::string CurrentInWords() const {
    if (tokens_.AtEnd()) return "the end of the file";
    if (tokens_.Is(Tokenizer::TYPE_STRING)) return "a text in quotes";
    return Quoted(tokens_.current().text);
  }
  // Spaces in place of what lies between, and behind, `begin`.
  void Blank(size_t begin) {
    const size_t end = std::min(tokens_.previous_end(), good_text_.size());
    for (size_t i = begin; i < end; ++i) {
      if (good_text_[i] != '\n') good_text_[i] = ' ';
    }
  }

  const Descriptor* const root_;
  Reporter& reporter_;
  TokenStream tokens_;
  std::string good_text_;
};

bool SyntaxReader::ReadFields(const Descriptor* message, SourceNode& node, char closing,
                              int depth) {
  for (;;) {
    if (closing != '\0' && tokens_.TakeSymbol(closing)) return true;
    if (tokens_.AtEnd()) {
      if (closing == '\0') return true;
      return Stop(fmt::format("the file ends, but the '{}' opened in line {} has no '{}'",
                              closing == '}' ? '{' : '<', node.value.line, closing));
    }
    if (!ReadField(message, node, depth)) return false;
  }
}

bool SyntaxReader::ReadField(const Descriptor* message, SourceNode& node, int depth) {
  if (tokens_.IsSymbol('[')) return Extension();
  const Token name = tokens_.current();
  if (!tokens_.Is(Tokenizer::TYPE_IDENTIFIER)) {
    return Stop(fmt::format("the name of a field is expected, not {}", CurrentInWords()));
  }
  tokens_.Next();
  const FieldDescriptor* field = message->FindFieldByName(name.text);
  if (field == nullptr || !IsForAuthors(field)) return UnknownField(message, name, node);
  bool good = !WrittenBefore(message, field, name, node);
  const bool colon = tokens_.TakeSymbol(':');
  SourceNode written;  // only kept when the whole field is good
  if (!ReadValues(field, name.at, written, colon, depth, good)) {
    node.broken.insert(field->number());
    return false;
  }
  if (!tokens_.TakeSymbol(',')) tokens_.TakeSymbol(';');
  if (!good) {
    Blank(name.begin);
    node.broken.insert(field->number());
    return true;
  }
  auto& kept = node.children[field->number()];
  for (SourceNode& value : written.children[field->number()]) kept.push_back(std::move(value));
  return true;
}

bool SyntaxReader::WrittenBefore(const Descriptor* message, const FieldDescriptor* field,
                                 const Token& name, const SourceNode& node) {
  if (field->is_repeated()) return false;
  if (const SourceNode* before = node.Find(field->number()); before != nullptr) {
    reporter_.Add(name.at, fmt::format("{} is written twice (first in line {}); it is allowed once",
                                       field->name(), before->name.line));
    return true;
  }
  const auto* oneof = field->containing_oneof();
  for (int i = 0; oneof != nullptr && i < oneof->field_count(); ++i) {
    const SourceNode* other = node.Find(oneof->field(i)->number());
    if (other == nullptr) continue;
    reporter_.Add(name.at, fmt::format("{} cannot stand beside {} (line {}): one {} holds one kind "
                                       "only; write another for the second",
                                       field->name(), oneof->field(i)->name(), other->name.line,
                                       message->name()));
    return true;
  }
  return false;
}

bool SyntaxReader::ReadValues(const FieldDescriptor* field, const SourceLocation& name,
                              SourceNode& node, bool colon, int depth, bool& good) {
  std::vector<SourceNode>& values = node.children[field->number()];
  const bool message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (!colon && !tokens_.IsSymbol('{') && !tokens_.IsSymbol('<') &&
      !(message && tokens_.IsSymbol('['))) {
    return Stop(message ? fmt::format("{} takes {}; '{{' is expected, not {}", field->name(),
                                      ValueInWords(field), CurrentInWords())
                        : fmt::format("':' is expected behind {}, not {}", field->name(),
                                      CurrentInWords()));
  }
  if (tokens_.IsSymbol('[') && field->is_repeated()) {
    return ReadList(field, name, values, depth, good);
  }
  values.push_back({name, tokens_.current().at, {}, {}});
  return message ? ReadMessage(field, values.back(), depth, good) : ReadScalar(field, good);
}

bool SyntaxReader::ReadList(const FieldDescriptor* field, const SourceLocation& name,
                            std::vector<SourceNode>& values, int depth, bool& good) {
  tokens_.Next();
  if (tokens_.TakeSymbol(']')) return true;
  for (;;) {
    values.push_back({name, tokens_.current().at, {}, {}});
    const bool read = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE
                          ? ReadMessage(field, values.back(), depth, good)
                          : ReadScalar(field, good);
    if (!read) return false;
    if (tokens_.TakeSymbol(']')) return true;
    if (!tokens_.TakeSymbol(',')) {
      return Stop(fmt::format("',' or ']' is expected in the list of {}, not {}", field->name(),
                              CurrentInWords()));
    }
  }
}

bool SyntaxReader::ReadMessage(const FieldDescriptor* field, SourceNode& value, int depth,
                               bool& good) {
  if (!tokens_.IsSymbol('{') && !tokens_.IsSymbol('<')) return WrongValue(field, good);
  if (depth + 1 > kNestingMax) {
    return Stop(fmt::format("groups are nested deeper than {}, the limit", kNestingMax));
  }
  const char closing = tokens_.IsSymbol('{') ? '}' : '>';
  tokens_.Next();
  return ReadFields(field->message_type(), value, closing, depth + 1);
}

bool SyntaxReader::ReadScalar(const FieldDescriptor* field, bool& good) {
  if (const auto max = LargestNumber(field)) return ReadInteger(field, *max, good);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return ReadEnum(field, good);
  const Token& token = tokens_.current();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    if (token.type != Tokenizer::TYPE_STRING) return WrongValue(field, good);
    while (tokens_.Is(Tokenizer::TYPE_STRING)) tokens_.Next();
    return true;
  }
  PP_CHECK(field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL);
  static constexpr std::string_view kTruths[] = {"true",  "True", "t", "false",
                                                 "False", "f",    "0", "1"};
  if (std::find(std::begin(kTruths), std::end(kTruths), token.text) == std::end(kTruths)) {
    return WrongValue(field, good);
  }
  tokens_.Next();
  return true;
}

bool SyntaxReader::ReadInteger(const FieldDescriptor* field, uint64_t max, bool& good) {
  const SourceLocation at = tokens_.current().at;
  const bool negative = tokens_.TakeSymbol('-');
  if (!tokens_.Is(Tokenizer::TYPE_INTEGER)) return WrongValue(field, good);
  const std::string& digits = tokens_.current().text;
  uint64_t number = 0;
  if (negative || !Tokenizer::ParseInteger(digits, max, &number)) {
    reporter_.Add(at, NumberMistake(field, (negative ? "-" : "") + digits));
    good = false;
  }
  tokens_.Next();
  return true;
}

bool SyntaxReader::ReadEnum(const FieldDescriptor* field, bool& good) {
  const Token token = tokens_.current();
  const EnumDescriptor* values = field->enum_type();
  bool known = false;
  uint64_t number = 0;
  if (token.type == Tokenizer::TYPE_IDENTIFIER) {
    known = values->FindValueByName(token.text) != nullptr;
  } else if (token.type == Tokenizer::TYPE_INTEGER) {
    known = Tokenizer::ParseInteger(token.text, std::numeric_limits<int32_t>::max(), &number) &&
            values->FindValueByNumber(static_cast<int>(number)) != nullptr;
  } else {
    return WrongValue(field, good);
  }
  tokens_.Next();
  if (known) return true;
  const std::vector<std::string> names = ValueNames(values);
  // Upper case is compared, so that "fsync_each" finds its way too.
  std::string upper = token.text;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  reporter_.Add(token.at, fmt::format("{} has no value {}; allowed are {}{}", field->name(),
                                      token.text, ListNames(names), DidYouMean(upper, names)));
  good = false;
  return true;
}

bool SyntaxReader::WrongValue(const FieldDescriptor* field, bool& good) {
  const bool list = tokens_.IsSymbol('[');
  reporter_.Add(tokens_.current().at,
                fmt::format("{} takes {}, not {}", field->name(), ValueInWords(field),
                            list ? "a list" : CurrentInWords()));
  good = false;
  return SkipValue();
}

bool SyntaxReader::SkipValue() {
  tokens_.TakeSymbol('-');
  if (tokens_.IsSymbol('{') || tokens_.IsSymbol('<') || tokens_.IsSymbol('[')) {
    return SkipBrackets();
  }
  if (tokens_.Is(Tokenizer::TYPE_STRING)) {
    while (tokens_.Is(Tokenizer::TYPE_STRING)) tokens_.Next();
    return true;
  }
  if (tokens_.AtEnd() || tokens_.Is(Tokenizer::TYPE_SYMBOL)) {
    return Stop(fmt::format("a value is expected, not {}", CurrentInWords()));
  }
  tokens_.Next();
  return true;
}

bool SyntaxReader::SkipBrackets() {
  const uint32_t line = tokens_.current().at.line;
  std::string closers;  // what has to come, the innermost last
  do {
    if (tokens_.AtEnd()) {
      return Stop(fmt::format("the file ends, but a bracket opened in line {} has no '{}'", line,
                              closers.back()));
    }
    if (tokens_.Is(Tokenizer::TYPE_SYMBOL)) {
      const char c = tokens_.current().text[0];
      if (c == '{') closers += '}';
      if (c == '[') closers += ']';
      if (c == '<') closers += '>';
      if (c == '}' || c == ']' || c == '>') {
        if (c != closers.back()) {
          return Stop(fmt::format("'{}' is expected, not '{}'", closers.back(), c));
        }
        closers.pop_back();
      }
    }
    tokens_.Next();
  } while (!closers.empty());
  return true;
}

bool SyntaxReader::UnknownField(const Descriptor* message, const Token& name, SourceNode& node) {
  const std::vector<std::string> names = FieldNames(message);
  std::string hint = DidYouMean(name.text, names);
  if (hint.empty() && root_->FindFieldByName(name.text) != nullptr) {
    hint = fmt::format("; {} is a field of {}: is a '}}' missing before it?", name.text,
                       root_->name());
  }
  reporter_.Add(name.at, fmt::format("{} has no field {}; allowed are {}{}", message->name(),
                                     Quoted(name.text), ListNames(names), hint));
  // What was meant is not missing: it is misspelt.
  const FieldDescriptor* meant = message->FindFieldByName(ClosestName(name.text, names));
  node.broken.insert(meant == nullptr ? 0 : meant->number());
  tokens_.TakeSymbol(':');
  if (!SkipValue()) return false;
  if (!tokens_.TakeSymbol(',')) tokens_.TakeSymbol(';');
  Blank(name.begin);
  return true;
}

bool SyntaxReader::Extension() {
  const size_t begin = tokens_.current().begin;
  reporter_.Add(tokens_.current().at, "a name in brackets: a scenario has no extensions");
  if (!SkipBrackets()) return false;
  tokens_.TakeSymbol(':');
  if (!SkipValue()) return false;
  Blank(begin);
  return true;
}

}  // namespace

SyntaxResult ReadSyntax(std::string_view text, const Descriptor* root, Reporter& reporter) {
  return SyntaxReader(text, root, reporter).Run();
}

}  // namespace plugpull::scenario
