# SPDX-License-Identifier: Apache-2.0
plugpull_test(consistency_agreement_test
  SOURCES meta/consistency_agreement_test.cc meta/consistency_mutants.cc
          unit/consistency_images.cc
  DEPS framework_ext4 framework_os tests_support LABELS meta TIMEOUT 300)
target_include_directories(consistency_agreement_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit)
plugpull_test(consistency_recorded_test SOURCES meta/consistency_recorded_test.cc
  DEPS framework_run framework_recording framework_os LABELS meta TIMEOUT 300)
add_test(NAME consistency_agreement_nightly COMMAND consistency_agreement_test)
set_tests_properties(consistency_agreement_nightly PROPERTIES LABELS nightly TIMEOUT 3600
  ENVIRONMENT "PLUGPULL_MUTANTS=1000;PLUGPULL_MUTANT_SEED=20")
