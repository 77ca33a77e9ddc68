// SPDX-License-Identifier: Apache-2.0
// A text read from the left: each Take* takes what it names, or leaves the text alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace plugpull::incident {

inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

class Scan {
 public:
  explicit Scan(std::string_view text) : rest_(text) {}

  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }
  char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }

  bool Take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void TakeSpaces() {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }
  // `min` to `max` digits; max at most 18, which always fit.
  std::optional<int64_t> TakeNumber(int min, int max) {
    int length = 0;
    int64_t value = 0;
    while (length < max && static_cast<size_t>(length) < rest_.size() && IsDigit(rest_[length])) {
      value = value * 10 + (rest_[length++] - '0');
    }
    const bool longer = static_cast<size_t>(length) < rest_.size() && IsDigit(rest_[length]);
    if (length < min || longer) return std::nullopt;
    rest_.remove_prefix(length);
    return value;
  }
  // "123.456" or "123": microseconds. More than six decimals are cut.
  std::optional<int64_t> TakeSeconds(char point) {
    Scan at = *this;
    const auto whole = at.TakeNumber(1, 12);
    if (!whole) return std::nullopt;
    int64_t us = *whole * 1'000'000;
    if (at.Peek() == point && at.rest_.size() > 1 && IsDigit(at.rest_[1])) {
      at.rest_.remove_prefix(1);
      us += at.TakeFraction();
    }
    *this = at;
    return us;
  }
  // Up to the next space, which is taken too.
  std::string_view TakeWord() {
    const size_t space = rest_.find(' ');
    const std::string_view word = rest_.substr(0, space);
    rest_.remove_prefix(space == std::string_view::npos ? rest_.size() : space + 1);
    return word;
  }

 private:
  // Decimals as microseconds.
  int64_t TakeFraction() {
    int64_t us = 0;
    int digits = 0;
    while (!rest_.empty() && IsDigit(rest_.front())) {
      if (digits++ < 6) us = us * 10 + (rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    for (; digits < 6; ++digits) us *= 10;
    return us;
  }

  std::string_view rest_;
};

}  // namespace plugpull::incident
