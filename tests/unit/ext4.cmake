# SPDX-License-Identifier: Apache-2.0
plugpull_test(ext4_test
  SOURCES unit/ext4_superblock_test.cc unit/ext4_file_system_test.cc unit/ext4_journal_test.cc
          unit/journal_builder.cc
  DEPS framework_ext4 framework_os tests_support)
plugpull_test(ext4_recovery_test
  SOURCES unit/ext4_recovery_test.cc unit/journal_builder.cc
  DEPS framework_ext4 framework_os tests_support)
