# SPDX-License-Identifier: Apache-2.0
plugpull_test(diagnose_test
  SOURCES unit/diagnose_minimize_test.cc unit/diagnose_ordering_test.cc unit/journal_builder.cc
  DEPS framework_diagnose framework_blocklog framework_ext4 framework_os tests_support)
