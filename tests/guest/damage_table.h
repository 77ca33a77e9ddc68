// SPDX-License-Identifier: Apache-2.0
// The table of what each damage does: its rows, what is expected of each, and the guest that is
// asked. framework/ext4/DAMAGE.md is made of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/machine.h"

namespace plugpull {

// What is said of a damaged disk.
struct Observed {
  std::string blkid;       // "0 ext4", "2": exit status, and what was found
  std::string mount;       // "ok", "ok, ro", "EINVAL"
  std::string kernel_log;  // of the mount, without lines of success, joined by " / "
  int fsck_check = -1;     // exit status of e2fsck -fn
  int fsck_preen = -1;     // exit status of e2fsck -p
  int fsck_after = -1;     // exit status of e2fsck -p behind the mount
};

struct DamageRow {
  std::string name;  // as in the document
  bool blank;        // over zeroes, not over an ext4
  // Corrupt steps, without their disk.
  std::vector<std::string> steps;
  // Expected. `log` is a regular expression that the kernel log must match; empty: it says nothing.
  std::string blkid;
  std::string mount_6_1;
  std::string mount_6_12;
  std::string log;
  int fsck_preen;
  int fsck_after;
  bool read_error = false;  // the disk fails every read of the superblock (`device_fault`)
};

const std::vector<DamageRow>& DamageRows();

// A guest with a disk that is restored, damaged and asked about, row for row.
class DamageGuest {
 public:
  // Boots `kernel`. Fails the test when it cannot.
  explicit DamageGuest(const std::string& kernel);
  ~DamageGuest();
  bool ready() const { return ready_; }
  Observed Ask(const DamageRow& row);

 private:
  void Start(const std::string& kernel);
  void MakePristine();
  void Restore(const DamageRow& row);
  // From then on every read of sector 2, which the superblock begins with, fails; or none does.
  void FailSuperblockReads(bool fail);
  Answer Do(const GuestRequest& request);
  Answer Run(const std::vector<std::string>& argv);
  std::string Mount();
  std::string KernelLog();

  os::Fd disk_;
  os::Fd pristine_;
  std::unique_ptr<vm::Machine> machine_;
  std::string device_;
  std::string pristine_device_;
  bool ready_ = false;
};

}  // namespace plugpull
