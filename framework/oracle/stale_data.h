// SPDX-License-Identifier: Apache-2.0
// The stale data oracle: whether files of a recovered file system show what was never written to
// them: what the disk held before mkfs (framework/image/poison.h), or another file's bytes.
//
// What may be in a file, below its size:
//   zeroes          holes, and blocks that were zeroed before they were written (Documentation/
//                   admin-guide/ext4.rst on unwritten extents, ext4_block_truncate_page)
//   its own bytes   of any write to this file at this place, however old. Whether they are recent
//                   enough is the content oracle's question.
// Everything else is stale. A file is the one that a CREATE made, whatever it is renamed to and
// however many names it has; its bytes stay its own. A name that was used again stands for any of
// the files that it ever stood for, but all bytes must be of one of them: the bytes of a file's
// predecessor under the same name are stale in it. Bytes of the file itself from another place are
// stale, too: nothing moves bytes within a file. Of files that the workload did not make only
// whole cells of poison are stale: a program may have copied anything into them.
//
// Whose fault it is (all of it is reported as violated; what a scenario expects is its own affair):
//   data=ordered    forbidden. Documentation/admin-guide/ext4.rst: data is forced out to the file
//                   system before the metadata that points at it is committed; jbd2 waits for it
//                   and flushes (jbd2_journal_submit_data_buffers in fs/jbd2/commit.c, and commit
//                   06bd3c36a733 "ext4: fix data exposure after a crash"). Blocks that a file frees
//                   go to no other file before that is committed (ext4_free_blocks, which makes an
//                   exception of data=writeback, in fs/ext4/mballoc.c).
//   data=journal    forbidden. Same document: data goes through the journal, in the transaction of
//                   the metadata that points at it.
//   data=writeback  allowed. Same document: data may be written after the metadata that points at
//                   it is committed, and recovery can bring old or wrong data into files.
//   no order        where flushes are not sent (nobarrier, a disk that hides its cache) or not
//                   honoured (a lying disk), data=ordered has nothing to build on: the fault is
//                   that of the mount option or the disk.
// dioread_nolock, the default since 5.6 (244adf6426ee), hides new blocks: they are allocated as
// unwritten extents and turned into written ones after their data (ext4_should_dioread_nolock in
// fs/ext4/ext4_jbd2.h). With dioread_lock, without extents, or with nodelalloc they are to be seen.
// Blocks that data=writeback gave to another file too early are to be seen in any case.
//
// Not seen: stale bytes that are equal to what may be there: zeroes, older bytes of the same file
// at the same place, and a file that holds nothing but its predecessor's bytes, each in its place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "framework/ext4/superblock.h"
#include "framework/oracle/file_system_view.h"
#include "framework/oracle/outcome.h"
#include "framework/workload/content.h"
#include "framework/workload/history.h"

namespace plugpull::oracle {

inline constexpr size_t kStaleFilesMax = 8;  // described for one image; all are counted

using ext4::DataMode;

// What became of the order of writes that ext4 asks for.
enum class WriteOrder : uint8_t {
  kKept,      // flushes were sent, and are honoured
  kNotAsked,  // none was sent: nobarrier
  kHidden,    // none was sent, because the disk hid its cache
  kIgnored,   // they are ignored: a lying disk
};

// Whose fault stale data is, in words, for the end of a piece of evidence.
const char* StaleDataBlame(DataMode mode, WriteOrder order);

// What a workload wrote, and under which names. Immutable; any number of threads may read it.
class StaleDataIndex {
 public:
  // `workload` outlives the index.
  explicit StaleDataIndex(const workload::ObligationIndex& workload);

  // The files that a name ever stood for, ascending. Null when that is not known: a name that is
  // not of the workload, or that an operation was about which failed or was cut off.
  const std::vector<uint64_t>* FilesOf(const std::string& path) const;
  // Whether a write put such a cell into a file, whole or in part.
  bool WasWritten(const workload::ContentTag& tag) const;
  // "file 12 (created as /d0/f9)".
  std::string Describe(uint64_t file) const;

 private:
  const workload::ObligationIndex& workload_;
  std::unordered_map<std::string, std::vector<uint64_t>> files_of_;
  std::unordered_map<uint64_t, const workload::FileHistory*> files_;
};

struct StaleFile {
  enum class Kind : uint8_t {
    kPoison,        // what the disk held before mkfs
    kOtherFile,     // bytes of another file
    kMisplaced,     // bytes of the same file, from another place
    kUnrecognised,  // never written to the file: pieces of other files, or old metadata of ext4
  };
  std::string path;   // with a leading slash; the first of its names
  uint64_t file = 0;  // number of the file; 0 when it is not of the workload
  // The first stretch of stale bytes of one kind and origin.
  Kind kind = Kind::kPoison;
  uint64_t offset = 0;  // in the file
  uint64_t length = 0;
  std::optional<uint64_t> disk_offset;      // kPoison: where it lies on the disk
  std::optional<workload::ContentTag> tag;  // kOtherFile, kMisplaced: of its first cell
  uint64_t stale_bytes = 0;                 // in the whole file
  // "/d0/f3: bytes 4096 to 5119 hold poison from byte 1835008 of the disk, ..."
  std::string evidence;
};

struct StaleDataVerdict {
  Outcome outcome = Outcome::kHolds;
  std::string evidence;  // the first stale file and how many more, or what could not be looked at
  std::vector<StaleFile> files;  // the first kStaleFilesMax, in the order of their names
  uint64_t stale_files = 0;
  // How much was looked at.
  uint64_t files_checked = 0;
  uint64_t bytes_checked = 0;
};

// "poison", "other file" and so on.
const char* StaleKindName(StaleFile::Kind kind);

// Reads every regular file that can be reached from the root. What cannot be read makes the verdict
// unknown, unless stale data is found elsewhere. Uses `view` from the calling thread only.
StaleDataVerdict JudgeStaleData(const StaleDataIndex& index, FileSystemView& view);

}  // namespace plugpull::oracle
