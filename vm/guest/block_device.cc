// SPDX-License-Identifier: Apache-2.0
#include "vm/guest/block_device.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <thread>
#include <vector>

#include "framework/os/file.h"

namespace plugpull::guest {
namespace {

constexpr Bytes kAttributeBytesMax(4096);
constexpr Millis kPollInterval{20};
constexpr size_t kStatFieldWrittenSectors = 6;  // from 0; see Documentation/block/stat.rst
constexpr size_t kInflightFieldWrites = 1;      // reads, then writes
constexpr char kWriteThrough[] = "write through";

// An attribute without its newline.
Result<std::string> ReadAttribute(const std::string& path) {
  auto text = os::ReadFile(path, kAttributeBytesMax);
  if (!text.ok()) return EnvironmentError(text.error().ToString());
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text;
}

Result<uint64_t> ParseNumber(std::string_view text, const std::string& path) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return EnvironmentError(fmt::format("{} holds \"{}\" where a number was expected", path, text));
  }
  return value;
}

// A number of an attribute that holds several, separated by spaces; the first is 0.
Result<uint64_t> ReadField(const std::string& path, size_t index) {
  PP_ASSIGN_OR_RETURN(const std::string text, ReadAttribute(path));
  std::vector<std::string_view> fields;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (end > 0) fields.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (fields.size() <= index) {
    return EnvironmentError(
        fmt::format("{} has {} fields, more than {} were expected", path, fields.size(), index));
  }
  return ParseNumber(fields[index], path);
}

Result<BlockDevice> ReadDevice(const std::string& name, const std::string& block_folder) {
  BlockDevice device;
  device.name = name;
  const std::string folder = block_folder + "/" + name;
  PP_ASSIGN_OR_RETURN(const std::string number, ReadAttribute(folder + "/dev"));
  PP_ASSIGN_OR_RETURN(device.number, dm::DeviceNumber::Parse(number));
  PP_ASSIGN_OR_RETURN(const std::string size, ReadAttribute(folder + "/size"));
  PP_ASSIGN_OR_RETURN(const uint64_t sectors, ParseNumber(size, folder + "/size"));
  device.size = Sectors(sectors);
  return device;
}

// Names of the disks that have the serial; `seen` gets every disk with its serial, for messages.
Result<std::vector<std::string>> DisksWithSerial(const std::string& serial,
                                                 const std::string& block_folder,
                                                 std::string& seen) {
  PP_ASSIGN_OR_RETURN(const auto names, os::ListFolder(block_folder));
  std::vector<std::string> matches;
  seen.clear();
  for (const auto& name : names) {
    const auto found = ReadAttribute(fmt::format("{}/{}/serial", block_folder, name));
    if (!found.ok()) continue;  // not a virtio disk, or unplugged this moment
    if (*found == serial) matches.push_back(name);
    seen += fmt::format("{}{}=\"{}\"", seen.empty() ? "" : ", ", name, *found);
  }
  return matches;
}

}  // namespace

Result<BlockDevice> FindDiskBySerial(const std::string& serial, const os::Deadline& deadline,
                                     const std::string& block_folder) {
  for (;;) {
    std::string seen;
    PP_ASSIGN_OR_RETURN(const auto matches, DisksWithSerial(serial, block_folder, seen));
    if (matches.size() > 1) {
      return EnvironmentError(
          fmt::format("{} disks have the serial \"{}\" ({}); serials must differ", matches.size(),
                      serial, seen));
    }
    // A disk of size 0 is still being set up by its driver.
    if (matches.size() == 1) {
      PP_ASSIGN_OR_RETURN(const BlockDevice device, ReadDevice(matches[0], block_folder));
      if (device.size.value > 0) return device;
    }
    if (deadline.Passed()) {
      return EnvironmentError(
          fmt::format("no disk has the serial \"{}\"; there are: {}", serial,
                      seen.empty() ? "none with a serial (is virtio_blk loaded?)" : seen));
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

Result<std::string> WriteCacheMode(const std::string& name, const std::string& block_folder) {
  return ReadAttribute(block_folder + "/" + name + "/queue/write_cache");
}

Status SetStableWrites(const std::string& name, const std::string& block_folder) {
  const std::string path = block_folder + "/" + name + "/queue/stable_writes";
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), "1", 1) != 1) {
    return EnvironmentError(fmt::format("cannot write 1 to {}: {}", path, os::ErrnoText(errno)));
  }
  PP_ASSIGN_OR_RETURN(const std::string now, ReadAttribute(path));
  if (now != "1") {
    return EnvironmentError(fmt::format("{} still says \"{}\" after 1 was written", path, now));
  }
  return OkStatus();
}

Status SetWriteThrough(const std::string& name, const std::string& block_folder) {
  const std::string path = block_folder + "/" + name + "/queue/write_cache";
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return EnvironmentError(fmt::format("cannot open {}: {}", path, os::ErrnoText(errno)));
  }
  const std::string_view mode = kWriteThrough;
  const auto written =
      os::WriteAll(fd.get(), {reinterpret_cast<const uint8_t*>(mode.data()), mode.size()});
  if (!written.ok()) return WithContext(written.error(), "cannot set " + path);
  return CheckWriteThrough(name, block_folder);
}

Status CheckWriteThrough(const std::string& name, const std::string& block_folder) {
  PP_ASSIGN_OR_RETURN(const std::string mode, WriteCacheMode(name, block_folder));
  if (mode != kWriteThrough) {
    return EnvironmentError(
        fmt::format("{} must be \"{}\" so that no flush gets through, and is \"{}\"; what was "
                    "recorded cannot be relied on",
                    block_folder + "/" + name + "/queue/write_cache", kWriteThrough, mode));
  }
  return OkStatus();
}

Result<Sectors> WrittenSectors(const std::string& name, const std::string& block_folder) {
  PP_ASSIGN_OR_RETURN(const uint64_t sectors,
                      ReadField(block_folder + "/" + name + "/stat", kStatFieldWrittenSectors));
  return Sectors(sectors);
}

Result<uint64_t> WritesInFlight(const std::string& name, const std::string& block_folder) {
  return ReadField(block_folder + "/" + name + "/inflight", kInflightFieldWrites);
}

}  // namespace plugpull::guest
