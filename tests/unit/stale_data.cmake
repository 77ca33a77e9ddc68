# SPDX-License-Identifier: Apache-2.0
plugpull_test(stale_data_test
  SOURCES unit/image_poison_test.cc unit/stale_data_oracle_test.cc unit/stale_data_image_test.cc
  DEPS framework_oracle framework_workload framework_image framework_ext4 framework_os tests_support)
plugpull_test(stale_data_property_test
  SOURCES unit/stale_data_property_test.cc unit/simulated_ext4.cc
  DEPS framework_oracle framework_workload framework_image LABELS unit meta)
plugpull_test(stale_data_check_test SOURCES unit/stale_data_check_test.cc
  DEPS framework_run framework_recording framework_blocklog framework_image framework_workload
       framework_os tests_support
  LABELS unit meta)
