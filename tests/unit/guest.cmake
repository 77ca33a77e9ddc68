# SPDX-License-Identifier: Apache-2.0
plugpull_test(guest_stack_test SOURCES unit/guest_stack_test.cc DEPS vm_guest)
plugpull_test(guest_workload_test SOURCES unit/guest_workload_test.cc DEPS vm_guest)
plugpull_test(guest_program_test SOURCES unit/guest_program_test.cc DEPS vm_guest)
plugpull_test(guest_mark_test SOURCES unit/guest_mark_test.cc DEPS vm_guest)
if(TARGET guest_mark_test)
  add_dependencies(guest_mark_test plugpull-mark)
endif()
