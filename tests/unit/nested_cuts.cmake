# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(nested_cuts_test
  SOURCES unit/nested_cuts_test.cc unit/kernel_recovery_test.cc unit/journal_builder.cc
  DEPS framework_run framework_oracle framework_ext4 framework_blocklog framework_preload
       framework_os vm_fake tests_support)
add_dependencies(nested_cuts_test plugpull-write-recorder)
