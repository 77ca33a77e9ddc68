# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(cli_test SOURCES unit/cli_test.cc unit/cli_incident_test.cc unit/cli_log_test.cc unit/cli_diagnose_test.cc
  RUNS_PLUGPULL DEPS tests_support framework_blocklog nlohmann_json::nlohmann_json TIMEOUT 900)
plugpull_test(run_campaign_test SOURCES unit/run_campaign_test.cc
  DEPS tests_support framework_run framework_report framework_image vm_fake TIMEOUT 600)
if(TARGET cli_test)
  add_dependencies(cli_test plugpull)
endif()
