# SPDX-License-Identifier: Apache-2.0
plugpull_test(image_test SOURCES unit/image_fingerprint_test.cc unit/image_cow_image_test.cc DEPS framework_image)
plugpull_test(crashstate_test
  SOURCES unit/crashstate_id_test.cc unit/crashstate_space_test.cc unit/crashstate_enumerate_test.cc
          unit/crash_reference.cc
  DEPS framework_crashstate framework_blocklog)
