# SPDX-License-Identifier: Apache-2.0
# Headers of other projects that most files read are compiled once: a fifth of what the compiler
# does is saved. Our own are not among them, so that includes stay within the layers; a file
# that forgets a header of this list is found by the nightly build, which does without.

# Not nlohmann/json.hpp: what it leaves to be instantiated costs every file more than it saves.
set(plugpull_big_headers
  <algorithm> <array> <cstdint> <cstring> <filesystem> <functional> <map> <memory> <optional> <set>
  <span> <string> <unordered_map> <vector>
  <fmt/format.h>
  <google/protobuf/descriptor.h> <google/protobuf/generated_message_reflection.h>
  <google/protobuf/message.h>)

# plugpull_precompiled(NAME DEPS lib... HEADERS <h>...): a set of headers; only GCC's are tried.
function(plugpull_precompiled name)
  cmake_parse_arguments(ARG "" "" "DEPS;HEADERS" ${ARGN})
  if(NOT PLUGPULL_PCH OR PLUGPULL_FUZZ OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    return()
  endif()
  set(source ${PROJECT_BINARY_DIR}/${name}.cc)
  if(NOT EXISTS ${source})
    file(WRITE ${source} "// Nothing but its precompiled headers.\n")
  endif()
  add_library(${name} OBJECT ${source})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} plugpull_flags)
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

# plugpull_use_precompiled(TARGET NAME): nothing where there is no such set.
function(plugpull_use_precompiled target name)
  if(TARGET ${name})
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()
