// SPDX-License-Identifier: Apache-2.0
#include "framework/tree/tree.h"

#include <fmt/format.h>

#include <algorithm>

#include "framework/image/fingerprint.h"

namespace plugpull::tree {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr size_t kPathShownMax = 200;

class Walk {
 public:
  Walk(Reader& reader, const Limits& limits) : reader_(reader), limits_(limits) {}

  FileTree Run() {
    Visit("", 0);
    return std::move(tree_);
  }

 private:
  void Cut(const std::string& reason) {
    if (tree_.cut_reason().empty()) tree_.set_cut_reason(reason);
  }

  // False when the walk is over.
  bool Visit(const std::string& path, uint64_t depth) {
    if (static_cast<uint64_t>(tree_.entry_size()) >= limits_.entries) {
      Cut(fmt::format("it has more than {} names", limits_.entries));
      return false;
    }
    TreeEntry& entry = *tree_.add_entry();
    auto looked = reader_.Look(path);
    if (looked.ok()) {
      entry = *std::move(looked);
    } else {
      entry.set_unreadable(looked.error().message);
    }
    entry.set_path(path);
    switch (looked.ok() ? entry.kind() : TreeEntry::OTHER) {
      case TreeEntry::FILE:
        ReadFile(entry);
        return true;
      case TreeEntry::SYMLINK: {
        const auto target = reader_.Target(path);
        if (!target.ok()) {
          entry.set_unreadable(target.error().message);
          return true;
        }
        SetContent(entry, image::FingerprintOf(
                              {reinterpret_cast<const uint8_t*>(target->data()), target->size()}));
        return true;
      }
      case TreeEntry::FOLDER:
        return VisitFolder(entry, depth);
      default:
        return true;
    }
  }

  bool VisitFolder(TreeEntry& entry, uint64_t depth) {
    const std::string path = entry.path();
    auto names = reader_.List(path);
    if (!names.ok()) {
      entry.set_unreadable(names.error().message);
      return true;
    }
    std::sort(names->begin(), names->end());
    for (const std::string& name : *names) {
      const std::string below = path.empty() ? name : path + "/" + name;
      if (depth >= limits_.depth || below.size() > limits_.path_bytes) {
        Cut(fmt::format("it is deeper than {} folders, or has a path above {} bytes", limits_.depth,
                        limits_.path_bytes));
        continue;
      }
      if (!Visit(below, depth + 1)) return false;
    }
    return true;
  }

  void ReadFile(TreeEntry& entry) {
    const uint64_t size = entry.size_bytes();
    if (size > limits_.content_bytes - read_bytes_) {
      Cut(fmt::format("its files have more than {} bytes", limits_.content_bytes));
      return;
    }
    read_bytes_ += size;
    image::FingerprintStream stream;
    chunk_.resize(kChunkBytes);
    for (uint64_t at = 0; at < size; at += kChunkBytes) {
      const auto part = std::span(chunk_).first(std::min<uint64_t>(kChunkBytes, size - at));
      if (const Status status = reader_.Read(entry.path(), at, part); !status.ok()) {
        entry.set_unreadable(status.error().message);
        return;
      }
      stream.Add(part);
    }
    SetContent(entry, stream.Finish());
  }

  static void SetContent(TreeEntry& entry, const image::Fingerprint& fingerprint) {
    entry.set_content_high(fingerprint.high);
    entry.set_content_low(fingerprint.low);
  }

  Reader& reader_;
  const Limits& limits_;
  FileTree tree_;
  uint64_t read_bytes_ = 0;
  std::vector<uint8_t> chunk_;
};

// A path as it is shown: from the root, printable, bounded.
std::string Shown(const std::string& path) {
  std::string text = "/";
  for (const char c : path.substr(0, kPathShownMax)) {
    text += c >= 0x20 && c < 0x7f ? c : '?';
  }
  return path.size() > kPathShownMax ? text + "..." : text;
}

std::string KindWord(TreeEntry::Kind kind) {
  switch (kind) {
    case TreeEntry::FILE:
      return "a file";
    case TreeEntry::FOLDER:
      return "a folder";
    case TreeEntry::SYMLINK:
      return "a symbolic link";
    default:
      return "something else";
  }
}

// How two entries of one path differ: what each is, in words. Empty when they agree.
std::pair<std::string, std::string> DifferenceOf(const TreeEntry& a, const TreeEntry& b) {
  const auto numbers = [](const char* what, uint64_t x, uint64_t y) {
    return std::pair(fmt::format("{} {}", what, x), fmt::format("{} {}", what, y));
  };
  if (!a.unreadable().empty() && !b.unreadable().empty()) return {};
  if (!a.unreadable().empty() || !b.unreadable().empty()) {
    const auto word = [](const TreeEntry& entry) {
      return entry.unreadable().empty() ? "readable" : "unreadable (" + entry.unreadable() + ")";
    };
    return {word(a), word(b)};
  }
  if (a.kind() != b.kind()) return {KindWord(a.kind()), KindWord(b.kind())};
  if (a.size_bytes() != b.size_bytes()) return numbers("bytes:", a.size_bytes(), b.size_bytes());
  if (a.mode() != b.mode()) {
    return {fmt::format("mode {:o}", a.mode()), fmt::format("mode {:o}", b.mode())};
  }
  if (a.owner() != b.owner()) return numbers("owner", a.owner(), b.owner());
  if (a.group() != b.group()) return numbers("group", a.group(), b.group());
  if (a.links() != b.links()) return numbers("links:", a.links(), b.links());
  if (a.content_high() != b.content_high() || a.content_low() != b.content_low()) {
    const auto word = [](const TreeEntry& entry) {
      return fmt::format("content {:016x}{:016x}", entry.content_high(), entry.content_low());
    };
    return {word(a), word(b)};
  }
  return {};
}

// The order of the list: a folder's names sort behind it and before what follows it.
bool Before(const std::string& a, const std::string& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    const auto rank = [](char c) { return c == '/' ? 0 : 1 + static_cast<unsigned char>(c); };
    return rank(x) < rank(y);
  });
}

}  // namespace

FileTree ReadTree(Reader& reader, const Limits& limits) { return Walk(reader, limits).Run(); }

std::optional<std::string> FirstDifference(const FileTree& a, std::string_view a_name,
                                           const FileTree& b, std::string_view b_name) {
  const int common = std::min(a.entry_size(), b.entry_size());
  for (int i = 0; i < common; ++i) {
    const TreeEntry& x = a.entry(i);
    const TreeEntry& y = b.entry(i);
    if (x.path() != y.path()) {
      const bool only_a = Before(x.path(), y.path());
      return fmt::format("{}: {} has it, {} does not", Shown(only_a ? x.path() : y.path()),
                         only_a ? a_name : b_name, only_a ? b_name : a_name);
    }
    const auto [of_a, of_b] = DifferenceOf(x, y);
    if (!of_a.empty()) {
      return fmt::format("{}: {} by {}, {} by {}", Shown(x.path()), of_a, a_name, of_b, b_name);
    }
  }
  if (a.entry_size() == b.entry_size()) return std::nullopt;
  const bool only_a = a.entry_size() > b.entry_size();
  return fmt::format("{}: {} has it, {} does not", Shown((only_a ? a : b).entry(common).path()),
                     only_a ? a_name : b_name, only_a ? b_name : a_name);
}

}  // namespace plugpull::tree
