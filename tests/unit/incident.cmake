# SPDX-License-Identifier: Apache-2.0
plugpull_test(incident_test
  SOURCES unit/incident_klog_test.cc unit/incident_line_test.cc unit/incident_loop_test.cc
          unit/incident_signature_test.cc unit/klog_forms.cc
  DEPS framework_incident framework_scenario framework_os nlohmann_json::nlohmann_json)
