# SPDX-License-Identifier: Apache-2.0
plugpull_test(image_test SOURCES unit/image_fingerprint_test.cc unit/image_cow_image_test.cc DEPS framework_image)
plugpull_test(crashstate_test
  SOURCES unit/crashstate_id_test.cc unit/crashstate_space_test.cc unit/crashstate_enumerate_test.cc
          unit/crashstate_torn_test.cc unit/crash_reference.cc
  DEPS framework_crashstate framework_blocklog)
plugpull_test(crashstate_journal_test
  SOURCES unit/crashstate_journal_timeline_test.cc unit/crashstate_journal_guided_test.cc
          unit/journal_builder.cc
  DEPS framework_crashstate framework_blocklog framework_ext4 framework_os tests_support)
