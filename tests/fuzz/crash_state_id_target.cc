// SPDX-License-Identifier: Apache-2.0
#include "framework/base/check.h"
#include "framework/crashstate/crash_state_id.h"
#include "tests/fuzz/targets.h"

namespace plugpull::fuzz {

void FuzzCrashStateId(Input input) {
  using crashstate::CrashStateId;
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto id = CrashStateId::Parse(text);
  if (!id.ok()) {
    PP_CHECK(id.error().code == ErrorCode::kUser && !id.error().message.empty());
    return;
  }
  // The text may write a number in more ways than one (leading zeroes); ToString has one way.
  const std::string printed = id->ToString();
  PP_CHECK(printed.size() <= text.size());
  const auto again = CrashStateId::Parse(printed);
  PP_CHECK(again.ok());
  PP_CHECK(*again == *id);
  PP_CHECK(again->ToString() == printed);
}

}  // namespace plugpull::fuzz
