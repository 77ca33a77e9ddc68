// SPDX-License-Identifier: Apache-2.0
// PP_CHECK: for programmer errors only; stays on in release. Never for input.
#pragma once

#include <cstdio>
#include <cstdlib>

#define PP_CHECK(condition)                                                                 \
  do {                                                                                      \
    if (!(condition)) [[unlikely]] {                                                        \
      std::fprintf(stderr, "plugpull: internal error: %s:%d: CHECK(%s) failed\n", __FILE__, \
                   __LINE__, #condition);                                                   \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)
