# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agent_guest_test SOURCES guest/agent_guest_test.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_agent framework_os LABELS guest TIMEOUT 600)
# All of them for three seeds, and a few with one for every change.
plugpull_test(agent_matrix_test SOURCES guest/agent_matrix_test.cc
  DEPS tests_support framework_os nlohmann_json::nlohmann_json LABELS nightly TIMEOUT 3600)
add_test(NAME agent_smoke_test COMMAND agent_matrix_test)
set_tests_properties(agent_smoke_test PROPERTIES LABELS guest TIMEOUT 600
  ENVIRONMENT "PLUGPULL_AGENT_SCENARIOS=transient_clears;PLUGPULL_AGENT_SEEDS=1")
add_dependencies(agent_guest_test plugpull-guest plugpull-mark)
add_dependencies(agent_matrix_test plugpull plugpull-guest plugpull-mark plugpull-reference-agent
  plugpull-broken-agent)
