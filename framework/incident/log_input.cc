// SPDX-License-Identifier: Apache-2.0
#include "framework/incident/log_input.h"

#include <algorithm>
#include <cstring>

namespace plugpull::incident {
namespace {

constexpr size_t kPieceBytes = 64 << 10;

}  // namespace

LogInput::LogInput(std::string_view bytes)
    : pull_([bytes](char* to, size_t size) mutable {
        const size_t n = std::min(size, bytes.size());
        std::memcpy(to, bytes.data(), n);
        bytes.remove_prefix(n);
        return n;
      }) {}

void LogInput::Fill(size_t size) {
  if (available() >= size || ended_) return;
  buffer_.erase(0, at_);
  at_ = 0;
  while (buffer_.size() < size && !ended_) {
    const size_t before = buffer_.size();
    const size_t piece = std::max(kPieceBytes, std::min(before, size - before));
    buffer_.resize(before + piece);
    const size_t n = std::min(pull_(buffer_.data() + before, piece), piece);
    buffer_.resize(before + n);
    ended_ = n == 0;
  }
}

std::string_view LogInput::Peek(size_t size) {
  Fill(size);
  return std::string_view(buffer_).substr(at_, size);
}

bool LogInput::NextLine(size_t max, std::string_view& line, uint64_t& length) {
  size_t looked_at = 0;
  for (;;) {
    const std::string_view there = std::string_view(buffer_).substr(at_);
    const size_t end = there.find('\n', looked_at);
    if (end != std::string_view::npos || (ended_ && !there.empty())) {
      length = std::min(end, there.size());
      line = there.substr(0, std::min<size_t>(length, max));
      at_ += std::min<size_t>(length + 1, there.size());
      return true;
    }
    if (ended_) return false;
    if (there.size() > max) break;
    looked_at = there.size();
    Fill(there.size() + 1);
  }
  // Too long: its beginning is kept, the rest only counted.
  long_line_.assign(buffer_, at_, max);
  length = 0;
  for (bool found = false; !found;) {
    const std::string_view there = Peek(kPieceBytes);
    const size_t end = there.find('\n');
    found = end != std::string_view::npos || there.empty();
    length += std::min(end, there.size());
    at_ += std::min(end == std::string_view::npos ? end : end + 1, there.size());
  }
  line = long_line_;
  return true;
}

void LogInput::Skip(uint64_t size) {
  while (size > 0) {
    const size_t n = Peek(static_cast<size_t>(std::min<uint64_t>(size, kPieceBytes))).size();
    if (n == 0) return;
    at_ += n;
    size -= n;
  }
}

}  // namespace plugpull::incident
