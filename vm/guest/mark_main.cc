// SPDX-License-Identifier: Apache-2.0
// plugpull-mark: a program under test says what it has begun and what it was told is durable.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "vm/guest/mark_writer.h"

namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr char kDeviceVariable[] = "PLUGPULL_MARK_DEVICE";

constexpr char kHelp[] =
    R"(plugpull-mark writes a mark into the block log of the disk under test, so that a check knows
what a program had begun, and what it had been told is durable, when the power went.

usage:
  plugpull-mark start NAME   the program begins something that it calls NAME
  plugpull-mark done NAME    the program was told that NAME is durable
  plugpull-mark note TEXT    anything that is worth knowing when the log is read
  plugpull-mark --help

NAME and TEXT are one line of at most 390 bytes. Several words are joined by spaces.
The mark is in its place in the log when plugpull-mark exits with 0. Write "start" before the
first system call of what is named, and "done" only after the one that promised durability.

example:
  #!/bin/sh -e
  for i in 1 2 3; do
    plugpull-mark start "put-$i"
    echo "value $i" > "/data/key-$i.new"
    sync "/data/key-$i.new"
    mv "/data/key-$i.new" "/data/key-$i"
    sync /data
    plugpull-mark done "put-$i"
  done

environment:
  PLUGPULL_MARK_DEVICE   the device that marks are written to; set by plugpull for the commands
                         of a scenario

exit status: 0 the mark is written; 1 it is not; 2 the command line is wrong
)";

constexpr size_t kNameBytesMax = 390;  // leaves room for any of the kinds

int UsageError(const std::string& message) {
  std::fprintf(stderr, "plugpull-mark: %s\nTry: plugpull-mark --help\n", message.c_str());
  return kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  using plugpull::guest::MarkWriter;
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (argc < 2) return UsageError("one of start, done and note is expected");
  const std::string kind = argv[1];
  if (kind != "start" && kind != "done" && kind != "note") {
    return UsageError("unknown kind of mark \"" + kind + "\": start, done and note are possible");
  }
  std::string text;
  for (int i = 2; i < argc; ++i) text += (i > 2 ? " " : "") + std::string(argv[i]);
  if (text.empty()) return UsageError(kind + " needs a name behind it");
  if (text.size() > kNameBytesMax) {
    return UsageError("the name has " + std::to_string(text.size()) + " bytes, the limit is " +
                      std::to_string(kNameBytesMax));
  }
  const plugpull::blocklog::Mark mark{kind, text};
  if (const auto valid = plugpull::guest::ValidateMark(mark); !valid.ok()) {
    return UsageError(valid.error().ToString());
  }
  const char* device = std::getenv(kDeviceVariable);
  if (device == nullptr || *device == '\0') {
    return UsageError(std::string(kDeviceVariable) +
                      " is not set: run this from a command step of a scenario whose disk has a "
                      "log_writes layer");
  }
  auto writer = MarkWriter::Open(device);
  if (writer.ok()) {
    const auto written = writer->Write(mark);
    if (written.ok()) return 0;
    std::fprintf(stderr, "plugpull-mark: %s\n", written.error().ToString().c_str());
    return kExitFailed;
  }
  std::fprintf(stderr, "plugpull-mark: %s\n", writer.error().ToString().c_str());
  return kExitFailed;
}
