# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
# All of them, and a few for every change.
plugpull_test(csi_scenarios_test SOURCES guest/csi_scenarios_test.cc
  DEPS tests_support framework_os LABELS nightly TIMEOUT 1800)
add_test(NAME csi_smoke_test COMMAND csi_scenarios_test)
set_tests_properties(csi_smoke_test PROPERTIES LABELS guest TIMEOUT 600
  ENVIRONMENT "PLUGPULL_CSI_SCENARIOS=expand volume_condition")
add_dependencies(csi_scenarios_test plugpull plugpull-guest plugpull-mark plugpull-csi-node
  plugpull-kubelet plugpull-csi-mock)
