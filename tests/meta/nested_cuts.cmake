# SPDX-License-Identifier: Apache-2.0
plugpull_test(nested_cuts_meta_test SOURCES meta/nested_cuts_meta_test.cc
  DEPS framework_run framework_oracle framework_recording framework_os tests_support
  LABELS meta TIMEOUT 300)
add_dependencies(nested_cuts_meta_test plugpull-write-recorder)
