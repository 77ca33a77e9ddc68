# SPDX-License-Identifier: Apache-2.0
plugpull_test(machine_test SOURCES guest/machine_test.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_os LABELS guest TIMEOUT 600)
if(TARGET machine_test)
  add_dependencies(machine_test plugpull-guest plugpull-mark)
endif()
