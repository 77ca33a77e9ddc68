# SPDX-License-Identifier: Apache-2.0
# Tests that start the program itself.
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(quickstart_test SOURCES guest/quickstart_test.cc
  DEPS tests_support nlohmann_json::nlohmann_json PkgConfig::RE2 LABELS nightly TIMEOUT 600)
plugpull_test(kill_test SOURCES guest/kill_test.cc
  DEPS tests_support framework_recording LABELS guest TIMEOUT 600)
plugpull_test(kernel_verdicts_test SOURCES guest/kernel_verdicts_test.cc
  DEPS tests_support framework_run vm_qemu vm_kernels vm_initramfs LABELS guest TIMEOUT 600)
foreach(test quickstart_test kill_test kernel_verdicts_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull plugpull-guest plugpull-mark)
  endif()
endforeach()
