# SPDX-License-Identifier: Apache-2.0
plugpull_test(stale_data_meta_test SOURCES meta/stale_data_meta_test.cc
  DEPS framework_run framework_recording framework_oracle framework_ext4 framework_workload
       framework_os tests_support
  LABELS meta TIMEOUT 300)
