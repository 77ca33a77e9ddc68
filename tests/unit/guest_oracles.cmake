# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(guest_oracles_test
  SOURCES unit/oracle_kernel_mount_test.cc unit/oracle_state_sample_test.cc
          unit/run_state_batch_test.cc unit/tree_test.cc unit/guest_kernel_log_test.cc
  DEPS framework_run framework_oracle framework_tree vm_guest vm_fake tests_support)
