# SPDX-License-Identifier: Apache-2.0
plugpull_test(cross_check_guest_test SOURCES guest/cross_check_test.cc
  DEPS tests_support framework_recording framework_blocklog nlohmann_json::nlohmann_json
  LABELS guest TIMEOUT 600)
if(TARGET cross_check_guest_test)
  add_dependencies(cross_check_guest_test plugpull plugpull-guest plugpull-mark)
endif()
