# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(nested_cuts_guest_test SOURCES guest/nested_cuts_guest_test.cc
  DEPS tests_support framework_run vm_qemu LABELS guest TIMEOUT 600)
if(TARGET nested_cuts_guest_test)
  add_dependencies(nested_cuts_guest_test plugpull-guest plugpull-mark)
endif()
