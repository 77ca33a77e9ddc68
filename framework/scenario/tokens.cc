// SPDX-License-Identifier: Apache-2.0
#include "framework/scenario/tokens.h"

namespace plugpull::scenario {

namespace {
constexpr int kTabWidth = 8;  // of protobuf's tokenizer
}  // namespace

// The tokenizer reports a mistake while it makes the token after the current one, so places that
// it names are never before what has been translated; the walk goes on from a copy.
class TokenStream::Collector : public google::protobuf::io::ErrorCollector {
 public:
  Collector(TokenStream& stream, Reporter& reporter) : stream_(stream), reporter_(reporter) {}

  void AddError(int line, int column, const std::string& message) override {
    failed_ = true;
    const auto saved =
        std::tuple(stream_.byte_, stream_.line_, stream_.column_, stream_.characters_);
    reporter_.Add(stream_.Translate(line, column).at, message);
    std::tie(stream_.byte_, stream_.line_, stream_.column_, stream_.characters_) = saved;
  }

  bool failed() const { return failed_; }

 private:
  TokenStream& stream_;
  Reporter& reporter_;
  bool failed_ = false;
};

TokenStream::TokenStream(std::string_view text, Reporter& reporter)
    : text_(text),
      stream_(text.data(), static_cast<int>(text.size())),
      collector_(std::make_unique<Collector>(*this, reporter)),
      tokenizer_(&stream_, collector_.get()) {
  tokenizer_.set_allow_f_after_float(true);
  tokenizer_.set_comment_style(google::protobuf::io::Tokenizer::SH_COMMENT_STYLE);
  Next();
}

TokenStream::~TokenStream() = default;

bool TokenStream::failed() const { return collector_->failed(); }

TokenStream::Place TokenStream::Translate(int line, int column) {
  while (byte_ < text_.size() && (line_ < line || (line_ == line && column_ < column))) {
    const char c = text_[byte_++];
    if (c == '\n') {
      ++line_;
      column_ = 0;
      characters_ = 0;
      continue;
    }
    column_ += c == '\t' ? kTabWidth - column_ % kTabWidth : 1;
    // Continuation bytes belong to the character before them.
    if ((static_cast<uint8_t>(c) & 0xc0) != 0x80) ++characters_;
  }
  return {byte_, {static_cast<uint32_t>(line_) + 1, characters_ + 1, ""}};
}

void TokenStream::Next() {
  previous_end_ = current_.end;
  tokenizer_.Next();
  const auto& token = tokenizer_.current();
  const Place begin = Translate(token.line, token.column);
  current_ = {token.type, token.text, begin.at, begin.byte, begin.byte + token.text.size()};
}

bool TokenStream::TakeSymbol(char symbol) {
  if (!IsSymbol(symbol)) return false;
  Next();
  return true;
}

}  // namespace plugpull::scenario
