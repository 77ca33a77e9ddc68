// SPDX-License-Identifier: Apache-2.0
// Text from outside (file names, what e2fsck said) on its way to a terminal or into XML. It may
// hold anything: escape sequences that move the cursor, characters that reverse the direction of
// the line, bytes that are no UTF-8. Nothing here depends on the locale.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plugpull::report {

// One line that a terminal shows as it stands: line ends and tabs become spaces; other control
// characters, invisible direction marks and bytes that are not UTF-8 become "\xNN" or "\u{NNNN}".
std::string Printable(std::string_view text);

// What XML 1.0 can hold (section 2.2, "Char") without the discouraged control characters: those are
// left out, and each byte that is not UTF-8 becomes U+FFFD. Newlines and tabs stay.
std::string XmlText(std::string_view text);

// Columns that a terminal needs for printable text: 2 for East Asian wide characters and emoji, 0
// for combining marks, else 1 (Unicode Standard Annex 11).
int DisplayWidth(std::string_view text);

// The text, or its beginning and `ellipsis`, in at most `width` columns. Never splits a character.
std::string CutToWidth(std::string_view text, int width, std::string_view ellipsis);

// Lines of at most `width` columns, broken at spaces, and inside a word only where the word alone
// is too long. At least one line, which may be empty.
std::vector<std::string> WrapToWidth(std::string_view text, int width);

// Text inside a table or a line of GitHub's Markdown: nothing of it is read as Markdown or HTML.
std::string MarkdownEscaped(std::string_view text);

// The same between back quotes; back quotes inside become quotes.
std::string MarkdownCode(std::string_view text);

}  // namespace plugpull::report
