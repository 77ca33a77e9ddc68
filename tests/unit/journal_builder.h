// SPDX-License-Identifier: Apache-2.0
// Writes jbd2 journals, from the description of the format alone (Documentation/filesystems/ext4/
// journal.rst of the Linux kernel), and says what replaying them must give. Shares no code with
// framework/ext4.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plugpull::ext4 {

// One bit at a time.
uint32_t SlowCrc32c(uint32_t seed, std::span<const uint8_t> bytes);

struct JournalFormat {
  int checksum = 3;  // 0, 2 or 3
  bool wide = true;  // 64bit
  uint32_t sequence = 7;
  uint32_t start = 1;
};

struct TransactionParts {
  std::vector<std::pair<uint64_t, std::vector<uint8_t>>> writes;  // home block, bytes
  std::vector<uint64_t> revokes;
  bool commit = true;
  uint64_t commit_seconds = 1000;
};

class JournalBuilder {
 public:
  // `image`: holds an ext4 with a journal; `blocks`: its blocks by place. Both outlive the builder.
  JournalBuilder(std::span<uint8_t> image, const std::vector<uint64_t>& blocks,
                 uint32_t block_bytes, const JournalFormat& format);

  void Add(const TransactionParts& parts);
  // Writes both superblocks: the journal begins at format.start, the file system needs recovery.
  void Finish(bool needs_recovery = true);

  // Places in the journal of everything that was added, in order, transaction by transaction.
  const std::vector<std::vector<uint32_t>>& places() const { return places_; }
  // Bytes of a block in the journal.
  std::span<uint8_t> Place(uint32_t place);
  // Computes the checksums of the journal superblock and of the ext4 superblock again.
  void SealJournalSuper();
  void SealExt4Super();

  // What replaying the committed transactions writes home.
  std::map<uint64_t, std::vector<uint8_t>> Homes() const;

 private:
  std::span<uint8_t> Next(uint32_t type);
  void SealTail(std::span<uint8_t> block);
  void AddDescriptor(const TransactionParts& parts, size_t first, size_t count);
  void AddRevokes(const TransactionParts& parts);
  void AddCommit(const TransactionParts& parts);
  size_t TagBytes() const;

  std::span<uint8_t> image_;
  const std::vector<uint64_t>& blocks_;
  uint32_t block_bytes_;
  JournalFormat format_;
  uint32_t sequence_;
  uint32_t next_;
  uint32_t seed_;
  std::vector<TransactionParts> added_;
  std::vector<std::vector<uint32_t>> places_;
};

}  // namespace plugpull::ext4
