# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(fault_smoke_test SOURCES guest/fault_steps_test.cc
  DEPS tests_support framework_recording framework_blocklog LABELS guest TIMEOUT 600)
set_property(TEST fault_smoke_test PROPERTY ENVIRONMENT PLUGPULL_FAULT_RUNS=2)
add_test(NAME fault_ten_runs_test COMMAND fault_smoke_test --gtest_filter=*WhenAndWhere*)
set_tests_properties(fault_ten_runs_test PROPERTIES LABELS nightly TIMEOUT 1800
  ENVIRONMENT PLUGPULL_FAULT_RUNS=10)
# All of them, and a few for every change.
plugpull_test(fault_scenarios_test SOURCES guest/fault_scenarios_test.cc
  DEPS tests_support LABELS nightly TIMEOUT 1800)
add_test(NAME fault_scenarios_smoke_test COMMAND fault_scenarios_test)
set_tests_properties(fault_scenarios_smoke_test PROPERTIES LABELS guest TIMEOUT 600
  ENVIRONMENT "PLUGPULL_FAULT_SCENARIOS=flakey_drop_writes io_error_superblock detach_mounted")
foreach(test fault_smoke_test fault_scenarios_test)
  add_dependencies(${test} plugpull plugpull-guest plugpull-mark)
endforeach()
