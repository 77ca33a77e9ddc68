# SPDX-License-Identifier: Apache-2.0
if(NOT TARGET tests_support)
  add_subdirectory(support)
endif()
plugpull_test(demands_smoke_test SOURCES guest/demands_smoke_test.cc
  DEPS tests_support framework_os nlohmann_json::nlohmann_json LABELS guest TIMEOUT 300)
plugpull_test(kernel_columns_test SOURCES guest/kernel_columns_test.cc
  DEPS tests_support framework_os nlohmann_json::nlohmann_json LABELS nightly TIMEOUT 1200)
foreach(test demands_smoke_test kernel_columns_test)
  if(TARGET ${test})
    add_dependencies(${test} plugpull plugpull-guest plugpull-mark)
  endif()
endforeach()
