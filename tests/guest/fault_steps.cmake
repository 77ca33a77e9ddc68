# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(fault_smoke_test SOURCES guest/fault_steps_test.cc
  DEPS tests_support framework_recording framework_blocklog LABELS guest TIMEOUT 600)
plugpull_test(fault_scenarios_test SOURCES guest/fault_scenarios_test.cc
  DEPS tests_support LABELS nightly TIMEOUT 1800)
foreach(test fault_smoke_test fault_scenarios_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull plugpull-guest plugpull-mark)
  endif()
endforeach()
