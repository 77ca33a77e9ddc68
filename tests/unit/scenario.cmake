# SPDX-License-Identifier: Apache-2.0
plugpull_test(scenario_load_test
  SOURCES unit/scenario_load_test.cc unit/scenario_words_test.cc unit/scenario_fuzz_test.cc
  DEPS framework_scenario framework_os framework_proto framework_base)
plugpull_test(scenario_plan_test
  SOURCES unit/scenario_plan_test.cc unit/scenario_catalog_test.cc unit/scenario_proto_test.cc
  DEPS framework_scenario framework_os framework_proto framework_base)
