# SPDX-License-Identifier: Apache-2.0
plugpull_test(vm_machine_test SOURCES unit/vm_machine_test.cc DEPS vm vm_fake)
plugpull_test(vm_qmp_test SOURCES unit/vm_qmp_test.cc DEPS vm_qmp)
plugpull_test(vm_qemu_test SOURCES unit/vm_qemu_test.cc DEPS vm_qemu vm_fake nlohmann_json::nlohmann_json)
plugpull_test(vm_kernels_test SOURCES unit/vm_kernels_test.cc DEPS vm_kernels)
plugpull_test(vm_initramfs_test SOURCES unit/vm_initramfs_test.cc DEPS vm_initramfs)
