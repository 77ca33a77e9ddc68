# SPDX-License-Identifier: Apache-2.0
plugpull_test(guarantees_test
  SOURCES unit/guarantee_questions_test.cc unit/guarantee_oracle_test.cc unit/simulated_ext4.cc
  DEPS framework_oracle framework_workload framework_image LABELS unit meta)
plugpull_test(times_questions_test SOURCES unit/times_questions_test.cc
  DEPS framework_oracle framework_workload LABELS unit meta)
plugpull_test(report_matrix_test SOURCES unit/report_matrix_test.cc
  DEPS framework_report framework_os framework_proto)
plugpull_test(guarantee_check_test SOURCES unit/guarantee_check_test.cc
  DEPS framework_run framework_recording framework_blocklog framework_ext4 framework_os
       tests_support LABELS unit meta)
