# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(agent_guest_test SOURCES guest/agent_guest_test.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_agent framework_os LABELS guest TIMEOUT 600)
plugpull_test(agent_smoke_test SOURCES guest/agent_smoke_test.cc
  DEPS tests_support framework_recording LABELS nightly TIMEOUT 600)
foreach(test agent_guest_test agent_smoke_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull-guest plugpull-mark)
  endif()
endforeach()
if(TARGET agent_smoke_test)
  add_dependencies(agent_smoke_test plugpull)
endif()
