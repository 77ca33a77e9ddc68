// SPDX-License-Identifier: Apache-2.0
// Logs of an ext4 with a journal, written step by step: transactions as JournalBuilder lays them
// out, writes home, moves of the tail, with the flushes that jbd2 sends or without.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ext4_tools.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/crashstate/crash_space.h"
#include "framework/ext4/journal.h"
#include "journal_builder.h"

namespace plugpull::crashstate {

inline constexpr uint32_t kLogBlock = 1024;

class JournalLog {
 public:
  // The journal begins at `start`.
  explicit JournalLog(bool barriers, uint32_t start = 1)
      : barriers_(barriers), builder_(image_, journal_.blocks, kLogBlock, {.start = start}) {}

  const ext4::Image& base() const { return base_; }
  const ext4::JournalLayout& journal() const { return journal_; }
  blocklog::LogWriter& writer() { return writer_; }
  ext4::JournalBuilder& builder() { return builder_; }
  size_t entries() const { return entries_; }

  static std::vector<uint8_t> Block(char fill) { return std::vector<uint8_t>(kLogBlock, fill); }

  // The journal superblock: the log begins.
  size_t Begin() {
    builder_.Finish();
    return WritePlace(0, Forced());
  }
  // A transaction: its blocks, in their order, then the commit. Entries of all of them.
  std::vector<size_t> Commit(const ext4::TransactionParts& parts) {
    builder_.Add(parts);
    std::vector<size_t> entries;
    const auto& places = builder_.places().back();
    for (size_t i = 0; i < places.size(); ++i) {
      const bool commit = parts.commit && i + 1 == places.size();
      entries.push_back(WritePlace(places[i], commit ? Forced() : 0));
    }
    return entries;
  }
  size_t WritePlace(uint32_t place, uint64_t flags = 0) {
    const uint64_t at = journal_.blocks[place] * kLogBlock;
    return WriteAt(at, std::span(image_).subspan(at, kLogBlock), flags);
  }
  size_t WriteHome(uint64_t block, std::span<const uint8_t> bytes) {
    return WriteAt(block * kLogBlock, bytes, 0);
  }
  size_t WriteAt(uint64_t at, std::span<const uint8_t> bytes, uint64_t flags) {
    writer_.Write(Bytes(at), bytes, flags);
    return entries_++;
  }
  size_t Flush() {
    writer_.Flush();
    return entries_++;
  }
  size_t Mark() {
    writer_.Mark("a mark");
    return entries_++;
  }
  size_t Discard(uint64_t block, uint64_t blocks) {
    writer_.Discard(Bytes(block * kLogBlock), Bytes(blocks * kLogBlock));
    return entries_++;
  }
  // The journal superblock says another tail; place 0: the journal is empty.
  size_t MoveTail(uint32_t sequence, uint32_t place) {
    const auto super = builder_.Place(0);
    for (size_t i = 0; i < 4; ++i) {
      super[0x18 + i] = static_cast<uint8_t>(sequence >> (24 - 8 * i));
      super[0x1c + i] = static_cast<uint8_t>(place >> (24 - 8 * i));
    }
    builder_.SealJournalSuper();
    return WritePlace(0, Forced());
  }

  // Of what was written so far; valid until the next call.
  const blocklog::History& history() {
    log_ = *blocklog::ReadLog(writer_.bytes(), {});
    history_ = *blocklog::MakeHistory(log_, {Bytes(base_.size()), Bytes(0)});
    return history_;
  }

 private:
  uint64_t Forced() const { return barriers_ ? blocklog::kFlagFlush | blocklog::kFlagFua : 0; }

  bool barriers_;
  ext4::Image base_ = ext4::MakeExt4();
  ext4::Image image_ = base_;
  ext4::JournalLayout journal_ = *ext4::FindJournal(base_);
  ext4::JournalBuilder builder_;
  blocklog::LogWriter writer_;
  blocklog::BlockLog log_;
  blocklog::History history_;
  size_t entries_ = 0;
};

// Three transactions of a small life: two are written home and dropped, the third goes over their
// blocks in a log of which only the last three and the first places are used.
inline void WriteSmallLife(JournalLog& log) {
  log.Begin();
  log.WriteHome(3600, JournalLog::Block('d'));  // file data
  log.Commit(
      {.writes = {{3000, JournalLog::Block('a')}, {3001, JournalLog::Block('b')}}, .revokes = {}});
  log.Mark();
  log.Commit({.writes = {{3001, JournalLog::Block('c')}}, .revokes = {3500}});
  log.Mark();
  log.WriteHome(3000, JournalLog::Block('a'));
  log.WriteHome(3001, JournalLog::Block('c'));
}

}  // namespace plugpull::crashstate
