// SPDX-License-Identifier: Apache-2.0
// Reads protobuf's text format with the descriptors at hand, without stopping at the first
// mistake: protobuf's own parser ends there. Fields that it could not take are blanked out in a
// copy of the text, so that protobuf's parser, which stays the authority on the message, takes the
// rest, and every other check can still run.
//
// Format: the text format specification at protobuf.dev, without extensions, Any, field numbers
// and floating-point fields, none of which a scenario has.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <string_view>

#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

// Messages in messages in messages: deeper than any scenario is.
inline constexpr int kNestingMax = 20;

struct SyntaxResult {
  std::string good_text;  // as long as the text, broken fields replaced by spaces
  SourceNode source;      // places of the fields that are left
  bool complete = false;  // false when the reading ended early, at a mistake such as a lost brace
};

// `text` is UTF-8 without NUL. Every mistake goes to `reporter`.
SyntaxResult ReadSyntax(std::string_view text, const google::protobuf::Descriptor* root,
                        Reporter& reporter);

}  // namespace plugpull::scenario
