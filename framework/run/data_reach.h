// SPDX-License-Identifier: Apache-2.0
// Which transaction made a block of file data reachable: a part of its file, written, within the
// file's size. Asked of the file system itself, as it is recovered from cuts behind commit blocks
// with nothing lost; what cannot be seen there is not known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "framework/base/result.h"
#include "framework/crashstate/state_cursor.h"
#include "framework/ext4/block_roles.h"
#include "framework/oracle/fsck.h"
#include "framework/oracle/work_image.h"
#include "framework/run/disk_source.h"

namespace plugpull::run {

// One thread.
class DataReach {
 public:
  // How many writes are looked at; each costs about a dozen recoveries.
  static constexpr size_t kWritesMax = 32;

  // All outlive the result. `roles`: of the image at `cut` with nothing lost. An environment error
  // when there is no memory for an image.
  static Result<DataReach> Make(const DiskSource& source, oracle::Fsck& fsck,
                                const ext4::BlockRoles& roles, size_t cut);

  // The transaction, as a position in the timeline, whose commit block is behind `write` and before
  // the cut, and made its block reachable when it was not. Nothing for a block that its file had
  // before the write (it was overwritten), that is none of a file at the cut, or beyond kWritesMax.
  std::optional<uint32_t> TransactionOf(const crashstate::BlockWrite& write);

  // Writes that were asked about beyond kWritesMax.
  size_t not_looked_at() const { return not_looked_at_; }

 private:
  DataReach(const DiskSource& source, oracle::Fsck& fsck, const ext4::BlockRoles& roles, size_t cut,
            oracle::WorkImage work);
  std::optional<uint32_t> Find(const crashstate::BlockWrite& write);
  bool Reachable(size_t cut, uint64_t block, const ext4::BlockUse& use);

  const DiskSource& source_;
  oracle::Fsck& fsck_;
  const ext4::BlockRoles& roles_;
  std::unique_ptr<crashstate::StateCursor> cursor_;
  oracle::WorkImage work_;
  std::vector<std::pair<size_t, uint32_t>> commits_;  // event and transaction, before the cut
  std::map<std::pair<size_t, uint64_t>, std::optional<uint32_t>> known_;  // by event and block
  size_t not_looked_at_ = 0;
};

}  // namespace plugpull::run
