# SPDX-License-Identifier: Apache-2.0
plugpull_test(incident_test
  SOURCES unit/incident_klog_test.cc unit/incident_line_test.cc unit/incident_loop_test.cc
          unit/incident_signature_test.cc unit/klog_forms.cc
  DEPS framework_incident framework_scenario framework_os nlohmann_json::nlohmann_json)

if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
# The same tests, on logs that a unit test can write and on such of a gigabyte.
function(plugpull_incident_size_test name mib)
  plugpull_test(${name} SOURCES unit/incident_size_test.cc RUNS_PLUGPULL
    DEPS tests_support nlohmann_json::nlohmann_json TIMEOUT 1200 ${ARGN})
  target_compile_definitions(${name} PRIVATE PLUGPULL_LOG_MIB=${mib})
  add_dependencies(${name} plugpull)
endfunction()
plugpull_incident_size_test(incident_size_test 192)
plugpull_incident_size_test(incident_gigabyte_test 1024 LABELS nightly)
