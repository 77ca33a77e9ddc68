// SPDX-License-Identifier: Apache-2.0
// Words in messages: misspelt names, lists, quotations.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plugpull::scenario {

// Fewest insertions, deletions, replacements and swaps of neighbours that turn one into the other
// (optimal string alignment). Texts longer than 64 bytes count as their first 64.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate that is closest to `word`, the first of equals; empty when none is close enough
// to be meant.
std::string ClosestName(std::string_view word, const std::vector<std::string>& candidates);

// "; did you mean X?", or empty.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

// "a, b, c", or "none".
std::string ListNames(const std::vector<std::string>& names);

// The words of a text, which white space parts.
std::vector<std::string> SplitWords(std::string_view text);

// True when the text is UTF-8 (RFC 3629: no overlong forms, no surrogates).
bool IsUtf8(std::string_view text);

// Text of a scenario as it is shown in messages: in quotes, escaped, cut when it is long. Always
// UTF-8.
std::string Quoted(std::string_view text);

}  // namespace plugpull::scenario
