# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agent_definition_test SOURCES unit/agent_definition_test.cc
  RUNS_PLUGPULL DEPS tests_support framework_scenario framework_os framework_proto framework_base
  TIMEOUT 300)
if(TARGET agent_definition_test)
  add_dependencies(agent_definition_test plugpull)
endif()
