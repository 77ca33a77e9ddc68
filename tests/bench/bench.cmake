# SPDX-License-Identifier: Apache-2.0
# plugpull-bench is built with the tests, and by name: ninja -C build/release plugpull-bench.
set(tests_bench_shown ${PROJECT_BINARY_DIR}/include/tests_bench)
file(MAKE_DIRECTORY ${tests_bench_shown}/tests)
file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/bench ${tests_bench_shown}/tests/bench SYMBOLIC)

add_library(tests_bench STATIC EXCLUDE_FROM_ALL
  bench/classic.cc bench/engine.cc bench/ext4_files.cc bench/jbd2_writer.cc
  bench/journal_workload.cc bench/measure.cc bench/memory_disk.cc bench/stages.cc)
target_include_directories(tests_bench PUBLIC ${tests_bench_shown})
target_link_libraries(tests_bench
  PUBLIC framework_run framework_blocklog framework_os PkgConfig::EXT2FS PRIVATE plugpull_flags)

add_executable(plugpull-bench
  bench/child.cc bench/growth.cc bench/main.cc bench/speed.cc bench/subject.cc)
target_link_libraries(plugpull-bench PRIVATE tests_bench framework_recording CLI11::CLI11
  nlohmann_json::nlohmann_json plugpull_flags)
set_target_properties(plugpull-bench PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

plugpull_test(bench_smoke_test SOURCES bench/bench_smoke_test.cc
  DEPS framework_os nlohmann_json::nlohmann_json LABELS nightly TIMEOUT 600)
add_dependencies(bench_smoke_test plugpull-bench)
plugpull_test(journal_workload_test SOURCES meta/journal_workload_test.cc
  DEPS tests_bench tests_support LABELS meta TIMEOUT 300)
