# SPDX-License-Identifier: Apache-2.0
# Two logs of one run: held against each other, and kept in one recording.
plugpull_test(log_agreement_test
  SOURCES unit/crashstate_log_agreement_test.cc unit/two_logs.cc
  DEPS framework_crashstate framework_blocklog)
plugpull_test(cross_check_test
  SOURCES unit/run_cross_check_test.cc
  DEPS framework_run framework_report)
