# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(third_party_test SOURCES guest/third_party_test.cc
  DEPS tests_support framework_os LABELS nightly TIMEOUT 3200)
if(TARGET third_party_test)
  add_dependencies(third_party_test programs)
endif()
