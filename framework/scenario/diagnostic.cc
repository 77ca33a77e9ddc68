// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace plugpull::scenario {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

SourceNode NodeAt(std::string field_path) {
  SourceNode node;
  node.name.field_path = std::move(field_path);
  node.value = node.name;
  return node;
}

void FillFromMessage(const Message& message, SourceNode& node) {
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  const std::string& path = node.name.field_path;
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const FieldDescriptor* field : fields) {
    std::vector<SourceNode>& children = node.children[field->number()];
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      children.push_back(NodeAt(field->is_repeated()
                                    ? fmt::format("{}{}[{}]", prefix, field->name(), i)
                                    : prefix + field->name()));
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      FillFromMessage(field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                           : reflection->GetMessage(message, field),
                      children.back());
    }
  }
}

}  // namespace

std::string Diagnostic::ToString() const {
  if (at.line > 0) return fmt::format("{}:{}:{}: {}", file, at.line, at.column, message);
  if (!at.field_path.empty()) return fmt::format("{}: {}: {}", file, at.field_path, message);
  return fmt::format("{}: {}", file, message);
}

Error ToError(const std::vector<Diagnostic>& diagnostics) {
  PP_CHECK(!diagnostics.empty());
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (!text.empty()) text += '\n';
    text += diagnostic.ToString();
  }
  return UserError(std::move(text));
}

SourceNode SourceNode::FromMessage(const Message& message) {
  SourceNode node;
  FillFromMessage(message, node);
  return node;
}

const SourceNode* SourceNode::Find(int field, int index) const {
  const auto it = children.find(field);
  if (it == children.end() || index < 0 || static_cast<size_t>(index) >= it->second.size()) {
    return nullptr;
  }
  return &it->second[static_cast<size_t>(index)];
}

const SourceLocation& SourceNode::Locate(int field, int index) const {
  const SourceNode* node = Find(field, index);
  return node == nullptr ? name : node->value;
}

bool SourceNode::AnyBroken() const {
  if (!broken.empty()) return true;
  return std::any_of(children.begin(), children.end(),
                     [this](const auto& entry) { return AnyBroken(entry.first); });
}

bool SourceNode::AnyBroken(int field) const {
  if (broken.contains(field)) return true;
  const auto it = children.find(field);
  return it != children.end() &&
         std::any_of(it->second.begin(), it->second.end(),
                     [](const SourceNode& node) { return node.AnyBroken(); });
}

void Reporter::Add(SourceLocation at, std::string message) {
  if (diagnostics_.size() >= kDiagnosticsMax) {
    ++dropped_;
    return;
  }
  diagnostics_.push_back({file_, std::move(at), std::move(message)});
}

std::vector<Diagnostic> Reporter::Take() {
  const auto key = [](const Diagnostic& d) { return std::tie(d.at.line, d.at.column); };
  std::stable_sort(diagnostics_.begin(), diagnostics_.end(),
                   [&](const Diagnostic& a, const Diagnostic& b) { return key(a) < key(b); });
  const auto same = [](const Diagnostic& a, const Diagnostic& b) {
    return a.at == b.at && a.message == b.message;
  };
  diagnostics_.erase(std::unique(diagnostics_.begin(), diagnostics_.end(), same),
                     diagnostics_.end());
  if (dropped_ > 0) {
    diagnostics_.push_back(
        {file_, {}, fmt::format("{} more mistakes are not shown; mend these first", dropped_)});
  }
  return std::exchange(diagnostics_, {});
}

}  // namespace plugpull::scenario
