# SPDX-License-Identifier: Apache-2.0
plugpull_test(guarantees_guest_test SOURCES guest/guarantees_test.cc
  DEPS tests_support nlohmann_json::nlohmann_json LABELS nightly TIMEOUT 600)
if(TARGET guarantees_guest_test)
  add_dependencies(guarantees_guest_test plugpull plugpull-guest plugpull-mark)
endif()
plugpull_test(timestamps_guest_test SOURCES guest/timestamps_test.cc
  DEPS tests_support nlohmann_json::nlohmann_json LABELS guest TIMEOUT 300)
if(TARGET timestamps_guest_test)
  add_dependencies(timestamps_guest_test plugpull plugpull-guest plugpull-mark)
endif()
