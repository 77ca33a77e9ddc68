# SPDX-License-Identifier: Apache-2.0
# How a folder becomes a library. Each library shows its own folder, and nothing else, to those
# that link it: an include in a direction that the layout does not allow is not found.

find_package(Protobuf REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(EXT2FS REQUIRED IMPORTED_TARGET ext2fs com_err)
pkg_check_modules(DEVMAPPER REQUIRED IMPORTED_TARGET devmapper)
pkg_check_modules(BLKID REQUIRED IMPORTED_TARGET blkid)
pkg_check_modules(MOUNT REQUIRED IMPORTED_TARGET mount)
find_package(pugixml REQUIRED)

option(PLUGPULL_PCH "Compile the big headers of other projects once" ON)
add_library(plugpull_flags INTERFACE)
target_compile_options(plugpull_flags INTERFACE -Wall -Wextra -Werror
  $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local> -Wnon-virtual-dtor -Woverloaded-virtual
  -Wimplicit-fallthrough)
if(PLUGPULL_PCH)
  # GCC 12 warns falsely of the standard library once it comes from a precompiled header.
  target_compile_options(plugpull_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict
    -Wno-array-bounds -Wno-stringop-overread -Wno-stringop-overflow>)
endif()
# The same macros everywhere: precompiled headers are read only where they are.
target_compile_options(plugpull_flags INTERFACE -pthread)
target_compile_definitions(plugpull_flags INTERFACE
  $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>)
if(PLUGPULL_SANITIZE)
  target_compile_options(plugpull_flags INTERFACE -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(plugpull_flags INTERFACE -fsanitize=address,undefined)
endif()
if(PLUGPULL_FUZZ)
  target_compile_options(plugpull_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(plugpull_flags INTERFACE -fsanitize=address,undefined)
endif()

include(${CMAKE_CURRENT_LIST_DIR}/precompiled.cmake)
plugpull_precompiled(plugpull_headers HEADERS ${plugpull_big_headers})

# plugpull_library(NAME [HEADERS_ONLY] [SOURCES f.cc...] [DEPS lib...])
# NAME is the folder relative to the root with '/' and '-' turned to '_'.
function(plugpull_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  get_filename_component(parent ${folder} DIRECTORY)
  set(shown ${PROJECT_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${shown}/${parent})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${shown}/${folder} SYMBOLIC)
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_include_directories(${name} PUBLIC ${shown})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE plugpull_flags)
    plugpull_use_precompiled(${name} plugpull_headers)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${shown})
    target_link_libraries(${name} INTERFACE ${ARG_DEPS})
  endif()
endfunction()

# What a run needs, and no tests: the bootstrap script builds it.
add_custom_target(programs)

# plugpull_program(NAME SOURCES f.cc... DEPS lib...)
function(plugpull_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} plugpull_flags)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  plugpull_use_precompiled(${name} plugpull_headers)
  add_dependencies(programs ${name})
endfunction()
