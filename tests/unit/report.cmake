# SPDX-License-Identifier: Apache-2.0
plugpull_test(report_golden_test SOURCES unit/report_golden_test.cc
  DEPS framework_report framework_os framework_proto)
plugpull_test(report_test SOURCES unit/report_test.cc unit/report_text_test.cc
  unit/report_demands_test.cc unit/report_kernels_test.cc
  DEPS framework_report framework_proto nlohmann_json::nlohmann_json pugixml::pugixml)
plugpull_test(report_agent_matrix_test SOURCES unit/report_agent_matrix_test.cc
  DEPS framework_report framework_proto)
