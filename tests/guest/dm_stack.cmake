# SPDX-License-Identifier: Apache-2.0
plugpull_test(dm_stack_test SOURCES guest/dm_stack_test.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_layers framework_blocklog framework_os
  LABELS guest TIMEOUT 900)
if(TARGET dm_stack_test)
  add_dependencies(dm_stack_test plugpull-guest plugpull-mark)
endif()
