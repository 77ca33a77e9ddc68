// SPDX-License-Identifier: Apache-2.0
// A log as it comes, from memory or piece by piece from elsewhere: what was read is forgotten, so
// that a log of any length is read in the same memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace plugpull::incident {

// Fills in up to `size` bytes and returns how many; 0 is the end of the log.
using Pull = std::function<size_t(char* to, size_t size)>;

class LogInput {
 public:
  explicit LogInput(Pull pull) : pull_(std::move(pull)) {}
  // The bytes must outlive the object.
  explicit LogInput(std::string_view bytes);

  // The next bytes, at most `size` and fewer only at the end of the log; they stay to be read. Of
  // this and the functions below, what is returned lives until the next call.
  std::string_view Peek(size_t size);
  // Up to the next line end, which is taken too. Of a longer line, its first `max` bytes; `length`
  // is that of the whole line. False: the log has ended.
  bool NextLine(size_t max, std::string_view& line, uint64_t& length);
  // Leaves out so many bytes, or all that are left.
  void Skip(uint64_t size);

 private:
  size_t available() const { return buffer_.size() - at_; }
  // Reads until `size` bytes are there, or the log ends.
  void Fill(size_t size);

  Pull pull_;
  std::string buffer_;
  size_t at_ = 0;  // in the buffer: what comes next
  bool ended_ = false;
  std::string long_line_;
};

}  // namespace plugpull::incident
