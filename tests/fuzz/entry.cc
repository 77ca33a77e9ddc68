// SPDX-License-Identifier: Apache-2.0
// What libFuzzer calls. The build says which target it is: PLUGPULL_FUZZ_TARGET.
#include <cstddef>

#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  plugpull::fuzz::PLUGPULL_FUZZ_TARGET({data, size});
  return 0;
}
