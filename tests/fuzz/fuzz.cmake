# SPDX-License-Identifier: Apache-2.0
# Fuzzers are built by clang, in the preset "fuzz"; what they call is a library that the unit test
# fuzz_corpus_test links too, whatever the compiler.

# fuzz_NAME_target: the entry point. SOURCES beside its own file, and what it links.
function(plugpull_fuzz_target name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;INCLUDES" ${ARGN})
  add_library(fuzz_${name}_target STATIC EXCLUDE_FROM_ALL
    ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}_target.cc ${ARG_SOURCES})
  target_include_directories(fuzz_${name}_target
    PUBLIC ${PROJECT_BINARY_DIR}/include/tests_fuzz PRIVATE ${ARG_INCLUDES})
  target_link_libraries(fuzz_${name}_target PUBLIC ${ARG_DEPS} PRIVATE plugpull_flags)
endfunction()

file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include/tests_fuzz/tests)
file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR}/fuzz ${PROJECT_BINARY_DIR}/include/tests_fuzz/tests/fuzz
  SYMBOLIC)

add_library(fuzz_hostile_image STATIC EXCLUDE_FROM_ALL
  ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/hostile_image.cc)
target_include_directories(fuzz_hostile_image PUBLIC ${PROJECT_BINARY_DIR}/include/tests_fuzz)
target_compile_definitions(fuzz_hostile_image PRIVATE PLUGPULL_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
target_link_libraries(fuzz_hostile_image
  PUBLIC framework_ext4 PRIVATE framework_os PkgConfig::ZSTD plugpull_flags)

plugpull_fuzz_target(log_reader DEPS framework_blocklog)
plugpull_fuzz_target(superblock DEPS fuzz_hostile_image)
plugpull_fuzz_target(journal DEPS fuzz_hostile_image)
plugpull_fuzz_target(recovery DEPS fuzz_hostile_image framework_image)
plugpull_fuzz_target(consistency DEPS fuzz_hostile_image framework_image framework_os)
# The one file instead of its library, which would bring protobuf into the fuzzers' build.
plugpull_fuzz_target(crash_state_id
  SOURCES ${PROJECT_SOURCE_DIR}/framework/crashstate/crash_state_id.cc
  INCLUDES ${PROJECT_BINARY_DIR}/include/framework_crashstate
  DEPS framework_base fmt::fmt)
# As above: its files without the one that makes scenarios.
set(incident_files)
foreach(file disk_history incident incident_json journal_entry klog klog_line log_input retry_loop
        signature storage_line words)
  list(APPEND incident_files ${PROJECT_SOURCE_DIR}/framework/incident/${file}.cc)
endforeach()
plugpull_fuzz_target(incident
  SOURCES ${incident_files}
  INCLUDES ${PROJECT_BINARY_DIR}/include/framework_incident
  DEPS framework_base fmt::fmt nlohmann_json::nlohmann_json)

if(NOT PLUGPULL_FUZZ)
  return()
endif()

add_custom_target(fuzzers)
set(fuzzer_list)

# plugpull_fuzzer(NAME FUNCTION LONGEST-INPUT-IN-BYTES)
macro(plugpull_fuzzer name function bytes_max)
  add_executable(fuzz_${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/entry.cc)
  target_compile_definitions(fuzz_${name} PRIVATE PLUGPULL_FUZZ_TARGET=${function})
  target_link_libraries(fuzz_${name} PRIVATE fuzz_${name}_target plugpull_flags)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin EXCLUDE_FROM_ALL ON)
  add_dependencies(fuzzers fuzz_${name})
  string(APPEND fuzzer_list "${name} ${bytes_max}\n")
endmacro()

plugpull_fuzzer(log_reader FuzzLogReader 16384)
plugpull_fuzzer(superblock FuzzSuperblock 1024)
plugpull_fuzzer(journal FuzzJournal 1024)
plugpull_fuzzer(recovery FuzzRecovery 1024)
plugpull_fuzzer(consistency FuzzConsistency 1024)
plugpull_fuzzer(crash_state_id FuzzCrashStateId 256)
plugpull_fuzzer(incident FuzzIncident 4096)

# What the stage "fuzz" runs: a name and the longest input, a line each.
file(WRITE ${PROJECT_BINARY_DIR}/fuzzers.txt "${fuzzer_list}")
