# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(guest_oracles_guest_test SOURCES guest/guest_oracles_test.cc
  DEPS tests_support framework_run vm_qemu LABELS guest TIMEOUT 600)
if(TARGET guest_oracles_guest_test)
  add_dependencies(guest_oracles_guest_test plugpull-guest plugpull-mark)
endif()
