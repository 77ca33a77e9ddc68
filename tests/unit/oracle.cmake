# SPDX-License-Identifier: Apache-2.0
plugpull_test(recording_test SOURCES unit/recording_test.cc
  DEPS framework_recording framework_image framework_os tests_support)
plugpull_test(work_image_test SOURCES unit/work_image_test.cc
  DEPS framework_oracle framework_ext4 framework_image framework_os tests_support)
plugpull_test(fsck_test SOURCES unit/fsck_test.cc unit/journal_builder.cc
  DEPS framework_oracle framework_ext4 framework_image framework_os tests_support)
plugpull_test(disk_source_test
  SOURCES unit/disk_source_test.cc unit/coverage_test.cc unit/mount_use_test.cc
          unit/journal_builder.cc
  DEPS framework_run framework_recording framework_blocklog framework_ext4 framework_os
       tests_support)
plugpull_test(judge_test SOURCES unit/judge_test.cc unit/journal_builder.cc
  DEPS framework_run framework_blocklog framework_os tests_support)
