# SPDX-License-Identifier: Apache-2.0
plugpull_test(ext4_consistency_test
  SOURCES unit/ext4_consistency_test.cc unit/consistency_images.cc
  DEPS framework_ext4 framework_os tests_support)
