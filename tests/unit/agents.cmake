# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agents_decisions_test SOURCES unit/agents_decisions_test.cc DEPS vm_guest_agents)
plugpull_test(agents_agent_test SOURCES unit/agents_agent_test.cc
  DEPS vm_guest_agents framework_os)
plugpull_test(agents_defects_test SOURCES unit/agents_defects_test.cc DEPS vm_guest_agents)
plugpull_test(agents_linux_test SOURCES unit/agents_linux_test.cc
  DEPS vm_guest_agents framework_ext4_damage tests_support)
