# SPDX-License-Identifier: Apache-2.0
plugpull_test(damage_table_test SOURCES guest/damage_table_test.cc guest/damage_table.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_os PkgConfig::RE2 LABELS nightly TIMEOUT 1800)
plugpull_test(damage_smoke_test SOURCES guest/damage_smoke_test.cc guest/damage_table.cc
  DEPS vm_qemu vm_kernels vm_initramfs framework_os PkgConfig::RE2 LABELS guest TIMEOUT 300)
foreach(test damage_table_test damage_smoke_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull-guest plugpull-mark)
  endif()
endforeach()
