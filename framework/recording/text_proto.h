// SPDX-License-Identifier: Apache-2.0
// Messages as text, read back: the error is returned, where the library would print all of them.
#pragma once

#include <google/protobuf/message.h>

#include <string_view>

#include "framework/base/result.h"

namespace plugpull::recording {

enum class UnknownFields { kRefuse, kSkip };

// A user error names the line, the column and the first thing that is wrong there.
Status ParseTextProto(std::string_view text, UnknownFields unknown,
                      google::protobuf::Message& message);

}  // namespace plugpull::recording
