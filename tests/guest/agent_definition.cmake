# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agent_definition_guest_test SOURCES guest/agent_definition_guest_test.cc
  DEPS tests_support framework_os LABELS guest TIMEOUT 1300)
if(TARGET agent_definition_guest_test)
  add_dependencies(agent_definition_guest_test programs)
endif()
