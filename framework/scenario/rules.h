// SPDX-License-Identifier: Apache-2.0
// The rules that stand beside the fields in scenario.proto, applied by reflection.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

// Most bytes of a text whose field does not say otherwise.
inline constexpr size_t kTextBytesMax = 4096;

// Checks `message` and all in it: what is required is there, numbers and counts are in their
// bounds, texts match their patterns, are UTF-8 without NUL and not too long, and every oneof has
// one of its kinds set.
void CheckRules(const google::protobuf::Message& message, const SourceNode& source,
                Reporter& reporter);

// Whether authors write the field. False for Step.line, which is filled in when a file is read.
bool IsForAuthors(const google::protobuf::FieldDescriptor* field);

// Says that `number` is out of the bounds of its field, and which these are.
std::string NumberMistake(const google::protobuf::FieldDescriptor* field,
                          const std::string& number);

}  // namespace plugpull::scenario
