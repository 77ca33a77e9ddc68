// SPDX-License-Identifier: Apache-2.0
// From a text to a message, with every mistake of its syntax; for this folder only.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

// `what` it is: "scenario". False when the text leaves something in doubt: then the reporter has
// it. True with diagnostics: these fields are missing in `message`, and all others are there.
bool ReadMessage(std::string_view text, const std::string& what, google::protobuf::Message& message,
                 SourceNode& source, Reporter& reporter);

}  // namespace plugpull::scenario
