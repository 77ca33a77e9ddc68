# SPDX-License-Identifier: Apache-2.0
plugpull_test(run_power_cut_test SOURCES unit/run_power_cut_test.cc
  DEPS tests_support framework_run framework_report framework_blocklog framework_scenario vm_fake
  TIMEOUT 600)
