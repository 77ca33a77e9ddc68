// SPDX-License-Identifier: Apache-2.0
// What is wrong with a scenario, and where.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/base/result.h"

namespace plugpull::scenario {

// A place in a scenario. Lines and columns count from 1; columns count characters (code points),
// a tab is one. Line 0: the scenario was not read from text, and `field_path` says where.
struct SourceLocation {
  uint32_t line = 0;
  uint32_t column = 0;
  std::string field_path;  // "step[2].mount.at"; empty for scenarios read from text
  auto operator<=>(const SourceLocation&) const = default;
};

struct Diagnostic {
  std::string file;
  SourceLocation at;
  std::string message;  // what is wrong, what is allowed

  // "file:line:column: message", or "file: field path: message" where there is no text.
  std::string ToString() const;
};

// One user error with every diagnostic on a line of its own. At least one diagnostic.
Error ToError(const std::vector<Diagnostic>& diagnostics);

// Where the fields of one message are written, and of the messages in it. Elements of a repeated
// field are numbered as in the message, in both ways of writing them (protobuf's ParseInfoTree
// counts a list in brackets as one).
struct SourceNode {
  SourceLocation name;   // the field's name; for the whole scenario its first character
  SourceLocation value;  // the first character of its value
  std::map<int, std::vector<SourceNode>> children;  // by field number
  // Fields that were written but could not be understood. They are not in the message, and what
  // follows from their absence is not worth a diagnostic.
  std::set<int> broken;

  // Places without text: every location is a field path.
  static SourceNode FromMessage(const google::protobuf::Message& message);

  // The node of a field (or of an element of a repeated one); nullptr when it is not written.
  const SourceNode* Find(int field, int index = 0) const;
  // Where to point at for a field: its value, or this message when it is not written.
  const SourceLocation& Locate(int field, int index = 0) const;
  // True when this message, or one in it, has broken fields.
  bool AnyBroken() const;
  // The same for what is below one field.
  bool AnyBroken(int field) const;
};

// Collects diagnostics of one file. At most kDiagnosticsMax are kept; the last one then says how
// many there are.
inline constexpr size_t kDiagnosticsMax = 200;

class Reporter {
 public:
  explicit Reporter(std::string file) : file_(std::move(file)) {}
  void Add(SourceLocation at, std::string message);
  bool empty() const { return diagnostics_.empty(); }
  // In the order of the text, without repetitions.
  std::vector<Diagnostic> Take();

 private:
  std::string file_;
  std::vector<Diagnostic> diagnostics_;
  size_t dropped_ = 0;
};

}  // namespace plugpull::scenario
