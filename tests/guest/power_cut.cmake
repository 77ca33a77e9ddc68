# SPDX-License-Identifier: Apache-2.0
plugpull_test(power_cut_guest_test SOURCES guest/power_cut_test.cc
  DEPS tests_support framework_recording LABELS guest TIMEOUT 600)
if(TARGET power_cut_guest_test)
  add_dependencies(power_cut_guest_test plugpull plugpull-guest plugpull-mark)
endif()
