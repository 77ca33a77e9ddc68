# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(incident_reproduce_test SOURCES guest/incident_reproduce_test.cc RUNS_PLUGPULL
  DEPS tests_support nlohmann_json::nlohmann_json LABELS nightly TIMEOUT 1800)
foreach(program plugpull plugpull-guest plugpull-mark plugpull-reference-agent)
  add_dependencies(incident_reproduce_test ${program})
endforeach()
