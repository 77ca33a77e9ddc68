// SPDX-License-Identifier: Apache-2.0
// Device-mapper devices as objects, over libdevmapper. For a guest without udev: nobody but the
// kernel and this code makes device nodes, so no cookies are used and nobody is waited for.
//
// One thread: libdevmapper keeps its state in globals, and so does what captures its messages.
// Errors are environment errors; they carry what libdevmapper logged and the kernel's errno.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "dm-targets/table/table.h"
#include "framework/base/result.h"

namespace plugpull::dm {

class Device {
 public:
  // Makes the device, loads the table and resumes it; its node is there on return. The name must
  // begin with kNamePrefix. The table is validated first.
  static Result<Device> Create(const std::string& name, const Table& table);

  Device(Device&& other) noexcept : name_(std::exchange(other.name_, {})), number_(other.number_) {}
  Device& operator=(Device&& other) noexcept;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();  // removes the device, and says so on stderr when it cannot

  const std::string& name() const { return name_; }
  DeviceNumber number() const { return number_; }
  std::string path() const;         // "/dev/mapper/NAME"
  std::string kernel_name() const;  // "dm-N", as in /sys/block

  // Waits for requests in flight and holds back new ones. A file system on it is not frozen first,
  // and so is not synced.
  Status Suspend();
  // Puts `table` in the inactive slot; Resume makes it the live one.
  Status Load(const Table& table, bool read_only = false);
  Status Resume();

  // Makes `table` the live one while the device is in use, and reads it back: loads it, suspends
  // (see Suspend), resumes. The kernel is not asked to suspend when it refuses the table; a device
  // that was suspended is resumed whatever fails. `read_only`: the device refuses writers from
  // then on. What the queue was set to (write_cache, stable_writes) is set anew by the kernel.
  Status Swap(const Table& table, bool read_only = false);

  // The live table, as the kernel reports it.
  Result<Table> ReadTable() const;
  // The status of each target, as the kernel words it.
  Result<std::vector<std::string>> ReadStatus() const;

  // Sends a message to the target at sector 0, such as "mark TEXT" to a log-writes target.
  Status SendMessage(const std::string& message);

  // Removes it now; tries again for a few seconds while somebody has it open. On success the object
  // is empty; on failure it still owns the device.
  Status Remove();

 private:
  Device(std::string name, DeviceNumber number) : name_(std::move(name)), number_(number) {}

  std::string name_;  // empty: nothing is owned
  DeviceNumber number_;
};

// Whether the kernel takes such a table: loads it into a device of this name that is never resumed,
// and removes that again. The error of a refusal carries what the kernel says of it.
Status TryTable(const std::string& name, const Table& table);

struct TargetVersion {
  std::string type;  // "flakey"
  uint32_t major = 0;
  uint32_t minor = 0;
  uint32_t patch = 0;
  std::string ToString() const;  // "flakey 1.5.0"
};
// The targets that the kernel has now; modules that are not loaded are not among them.
Result<std::vector<TargetVersion>> ListTargetVersions();

// Names of all devices that begin with kNamePrefix, in the order of their bytes.
Result<std::vector<std::string>> ListOurDevices();

// Removes every device whose name begins with kNamePrefix, those that others stand on last. The
// names of those that were removed; an error names those that are still in use. No Device may own
// one of them.
Result<std::vector<std::string>> SweepDevices();

}  // namespace plugpull::dm
