# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(csi_call_plan_test SOURCES unit/csi_call_plan_test.cc DEPS vm_guest_csi)
plugpull_test(csi_node_plugin_test SOURCES unit/csi_node_plugin_test.cc DEPS vm_guest_csi)
plugpull_test(csi_kubelet_test SOURCES unit/csi_kubelet_test.cc DEPS vm_guest_csi framework_os)
