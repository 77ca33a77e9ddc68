# SPDX-License-Identifier: Apache-2.0
plugpull_test(guest_executor_test SOURCES guest/guest_executor_test.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_blocklog framework_workload framework_os
  LABELS guest TIMEOUT 900)
if(TARGET guest_executor_test)
  add_dependencies(guest_executor_test plugpull-guest plugpull-mark)
endif()
