// SPDX-License-Identifier: Apache-2.0
#include "framework/run/log_file.h"

#include "framework/os/file.h"

namespace plugpull::run {

Result<ReadBack> ReadLogBack(int fd, Bytes device_size) {
  ReadBack read;
  PP_ASSIGN_OR_RETURN(const Bytes size, os::FileSize(fd));
  PP_ASSIGN_OR_RETURN(read.mapping, os::Mapping::Map(fd, size, os::Mapping::Mode::kReadOnly));
  PP_ASSIGN_OR_RETURN(read.log, blocklog::ReadLog(read.mapping.bytes(), {true, device_size}));
  return read;
}

}  // namespace plugpull::run
