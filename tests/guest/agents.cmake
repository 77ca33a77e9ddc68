# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agents_guest_test SOURCES guest/agents_guest_test.cc
  DEPS tests_support LABELS guest TIMEOUT 600)
if(TARGET agents_guest_test)
  add_dependencies(agents_guest_test plugpull plugpull-guest plugpull-mark plugpull-reference-agent
    plugpull-broken-agent)
endif()
