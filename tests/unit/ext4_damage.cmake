# SPDX-License-Identifier: Apache-2.0
plugpull_test(ext4_damage_test SOURCES unit/ext4_damage_test.cc
  DEPS framework_ext4 framework_os tests_support)
