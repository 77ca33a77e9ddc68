# SPDX-License-Identifier: Apache-2.0
# Tests that start the program itself.
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(kernel_verdicts_test SOURCES guest/kernel_verdicts_test.cc
  DEPS tests_support framework_run vm_qemu vm_kernels vm_initramfs LABELS guest TIMEOUT 600)
foreach(test kernel_verdicts_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull plugpull-guest plugpull-mark)
  endif()
endforeach()
