// SPDX-License-Identifier: Apache-2.0
// What the agent sees and does, without a decision in it: linux_system.h does it on a machine,
// tests do it in memory. Errors of the kernel are errno values, 0 for success. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/base/result.h"
#include "framework/base/units.h"
#include "vm/guest/agents/mount_table.h"

namespace plugpull::agents {

struct Disk {
  std::string name;    // "vdb": nothing to rely on
  std::string serial;  // may be empty
  std::string path;    // of its device node
  DeviceNumber device;
  uint64_t size_bytes = 0;
};

// What libblkid makes of a disk.
struct Probe {
  enum class Kind {
    kFound,       // one format, or a file system and a partition table
    kNothing,     // no format that libblkid knows; not the same as blank
    kAmbivalent,  // several formats claim it
    kError,       // it could not be read
  };
  Kind kind = Kind::kError;
  std::string type;             // of the file system or the like; may be empty
  std::string partition_table;  // "dos", "gpt"; mostly empty
  int error_number = 0;         // of kError
};

// What a look at every byte of a disk has found.
struct Scan {
  enum class Kind {
    kBlank,  // nothing but zeroes, and all of it was read
    kNotBlank,
    kUnreadable,  // some of it could not be read: nothing is known
    kNotScanned,  // too large to be looked at, or in use
  };
  Kind kind = Kind::kNotScanned;
  uint64_t at_bytes = 0;  // where it was decided
  int error_number = 0;   // of kUnreadable and kNotScanned
};

// Held as long as the object lives, and gone when its holder dies.
class Lock {
 public:
  virtual ~Lock() = default;
};

class System {
 public:
  virtual ~System() = default;

  // Milliseconds of the wall clock, which may jump.
  virtual int64_t NowMs() = 0;
  // False as soon as the agent was told to end.
  virtual bool Sleep(Millis time) = 0;

  // Disks that are there, each as the device that is on top of its stack.
  virtual Result<std::vector<Disk>> Disks() = 0;
  virtual Result<std::vector<MountEntry>> Mounts() = 0;
  virtual Probe ProbeDisk(const Disk& disk) = 0;
  virtual Scan ScanDisk(const Disk& disk, uint64_t bytes_max) = 0;

  // A folder with mode 0755 that no link leads to; a mount point is not touched.
  virtual int PrepareTarget(const std::string& target) = 0;
  // mount(2) once: no helper, no second try read-only.
  virtual int Mount(const Disk& disk, const std::string& target, const std::string& type,
                    const std::vector<std::string>& options) = 0;
  // umount2(2) once. `detach`: MNT_DETACH.
  virtual int Unmount(const std::string& target, bool detach) = 0;
  // Writes and syncs a file without a name in the root of the file system that is mounted at
  // `target`; ESTALE when that is not the one of `device`.
  virtual int WriteProbe(const std::string& target, DeviceNumber device) = 0;
  // mkfs of that type, without force. 0, or EIO when it ended badly or could not be started.
  virtual int Format(const Disk& disk, const std::string& type) = 0;
  // e2fsck -y. The reference agent never does.
  virtual int Repair(const Disk& disk) = 0;
  // e2fsck -n. The reference agent never does.
  virtual int Check(const Disk& disk) = 0;
  // Removes a folder and what is in it. What is on another file system stays, with all folders
  // above it, and is told in `left`; `enter_mounts`: it goes too. ENOENT is no error.
  virtual int RemoveTree(const std::string& path, bool enter_mounts,
                         std::vector<std::string>& left) = 0;

  // Nothing when another process has it.
  virtual Result<std::unique_ptr<Lock>> TryLockState() = 0;
  virtual Result<std::unique_ptr<Lock>> TryLockDisk(const Disk& disk) = 0;
  // Nothing when there is none yet.
  virtual Result<std::optional<std::string>> ReadState() = 0;
  // All or nothing, and on the medium when it returns.
  virtual Status WriteState(const std::string& text) = 0;

  virtual void Log(const std::string& line) = 0;
  virtual void Alert(const std::string& line) = 0;
};

}  // namespace plugpull::agents
