// SPDX-License-Identifier: Apache-2.0
// The tokens of a text, one ahead, with their places in it.
#pragma once

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "framework/scenario/diagnostic.h"

namespace plugpull::scenario {

struct Token {
  using Type = google::protobuf::io::Tokenizer::TokenType;
  Type type = google::protobuf::io::Tokenizer::TYPE_START;
  std::string text;
  SourceLocation at;
  size_t begin = 0;  // bytes from the start of the text
  size_t end = 0;
};

class TokenStream {
 public:
  // Lexical mistakes go to `reporter`. Both arguments must outlive the stream.
  TokenStream(std::string_view text, Reporter& reporter);
  ~TokenStream();
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  const Token& current() const { return current_; }
  bool AtEnd() const { return current_.type == google::protobuf::io::Tokenizer::TYPE_END; }
  bool Is(Token::Type type) const { return current_.type == type; }
  bool IsSymbol(char symbol) const {
    return Is(google::protobuf::io::Tokenizer::TYPE_SYMBOL) && current_.text[0] == symbol;
  }
  // One past the last byte of the token before the current one.
  size_t previous_end() const { return previous_end_; }
  void Next();
  // Takes the current token when it is this symbol.
  bool TakeSymbol(char symbol);
  // True when the tokens could not all be made out.
  bool failed() const;

 private:
  class Collector;

  // The byte and the place that a line and a column of protobuf's tokenizer (both from 0, bytes,
  // a tab to the next multiple of 8) stand for. Places must be asked for in the order of the text.
  struct Place {
    size_t byte = 0;
    SourceLocation at;
  };
  Place Translate(int line, int column);

  std::string_view text_;
  google::protobuf::io::ArrayInputStream stream_;
  std::unique_ptr<Collector> collector_;
  google::protobuf::io::Tokenizer tokenizer_;
  Token current_;
  size_t previous_end_ = 0;

  // How far Translate has walked.
  size_t byte_ = 0;
  int line_ = 0;
  int column_ = 0;
  uint32_t characters_ = 0;  // in this line
};

}  // namespace plugpull::scenario
