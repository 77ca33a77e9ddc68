# SPDX-License-Identifier: Apache-2.0
plugpull_test(recorded_check_test SOURCES meta/recorded_check_test.cc
  DEPS framework_run framework_report framework_recording framework_os tests_support
  LABELS meta TIMEOUT 300)
plugpull_test(recorded_states_test SOURCES meta/recorded_states_test.cc
  DEPS framework_run framework_recording framework_os LABELS meta TIMEOUT 300)
plugpull_test(blind_oracle_test SOURCES meta/blind_oracle_test.cc
  DEPS framework_run framework_recording framework_os tests_support LABELS meta TIMEOUT 300)
plugpull_test(recovered_states_test SOURCES meta/recovered_states_test.cc
  DEPS framework_run framework_recording framework_os LABELS meta TIMEOUT 300)
plugpull_test(journal_guided_meta_test SOURCES meta/journal_guided_meta_test.cc
  DEPS framework_run framework_recording framework_os LABELS meta TIMEOUT 300)
