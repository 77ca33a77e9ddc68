# SPDX-License-Identifier: Apache-2.0
plugpull_test(timeline_test
  SOURCES unit/timeline_test.cc
  DEPS framework_timeline framework_os)
