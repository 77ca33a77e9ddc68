# SPDX-License-Identifier: Apache-2.0
plugpull_test(layers_table_test SOURCES unit/layers_table_test.cc
  DEPS framework_layers framework_base)
plugpull_test(guest_faults_test SOURCES unit/guest_faults_test.cc DEPS vm_guest)
plugpull_test(vm_qemu_disks_test SOURCES unit/vm_qemu_disks_test.cc
  DEPS vm_qemu)
plugpull_test(run_fault_steps_test SOURCES unit/run_fault_steps_test.cc
  DEPS framework_run vm_fake)
