# SPDX-License-Identifier: Apache-2.0
plugpull_test(workload_test
  SOURCES unit/workload_content_test.cc unit/workload_generator_test.cc
          unit/workload_history_test.cc unit/workload_tree_test.cc
  DEPS framework_workload)
plugpull_test(content_oracle_test
  SOURCES unit/content_oracle_test.cc unit/content_oracle_cut_test.cc
  DEPS framework_oracle framework_workload)
plugpull_test(content_oracle_property_test
  SOURCES unit/content_oracle_property_test.cc unit/simulated_ext4.cc
  DEPS framework_oracle framework_workload framework_image LABELS unit meta)
