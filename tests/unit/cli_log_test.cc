// SPDX-License-Identifier: Apache-2.0
// Logs that plugpull did not record: broken ones, those of dm-log-writes, and those of QEMU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/blocklog/format.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kOrdered = std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/ordered";
constexpr uint64_t kDiskBytes = 16u << 20;

std::string Text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class CliLogTest : public ::testing::Test {
 protected:
  CliLogTest() : folder_("cli-log") {}

  ProgramEnd Run(const std::vector<std::string>& arguments) {
    return RunPlugpull(folder_, arguments, Millis(100'000));
  }
  // The end of `check --log` with `arguments`, and its only run as JSON.
  nlohmann::json Check(const std::vector<std::string>& arguments, int status) {
    std::vector<std::string> all = {"check", "--json", "--log"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const ProgramEnd end = Run(all);
    EXPECT_EQ(end.status, status) << end.out << end.err;
    auto json = nlohmann::json::parse(end.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << end.out;
    if (json.is_object() && json.contains("runs")) json = json["runs"];
    return json.is_array() && !json.empty() ? json[0] : nlohmann::json();
  }
  std::string ErrorOf(const std::vector<std::string>& arguments) {
    const auto json = Check(arguments, 2);
    return json.is_object() && json.contains("error") ? json["error"].dump() : json.dump();
  }
  // The golden recording's log, of an ext4 with an honest disk, as dm-log-writes would write it.
  std::string PlainLog() {
    const ProgramEnd end = Run({"log", "convert", kOrdered, "-o", "plain.log"});
    EXPECT_EQ(end.status, 0) << end.err;
    const auto text = os::ReadFile(folder_ / "plain.log", Mebibytes(64));
    return text.ok() ? *text : "";
  }
  // A file system that was made and never mounted.
  std::string FreshExt4() {
    const auto mke2fs = os::FindProgram("mke2fs", "e2fsprogs");
    EXPECT_TRUE(mke2fs.ok());
    os::SubprocessOptions options;
    options.argv = {*mke2fs, "-q", "-F", "-t", "ext4", "-b", "1024", folder_ / "fresh.img", "8M"};
    const auto made = os::RunProgram(options, Millis(30'000));
    EXPECT_TRUE(made.ok() && made->exit.code == 0);
    const auto text = os::ReadFile(folder_ / "fresh.img", Mebibytes(64));
    return text.ok() ? *text : "";
  }

  TestFolder folder_;
};

TEST_F(CliLogTest, WhatIsNoLogIsExit2AndSaysWhy) {
  WriteText(folder_ / "empty", "");
  WriteText(folder_ / "garbage", std::string(100'000, 'x'));
  WriteText(folder_ / "cut", PlainLog().substr(0, 20));
  EXPECT_THAT(ErrorOf({"empty"}), HasSubstr("0 bytes, a log has at least 28"));
  EXPECT_THAT(ErrorOf({"garbage"}), HasSubstr("it begins with 0x7878787878787878"));
  EXPECT_THAT(ErrorOf({"cut"}), HasSubstr("20 bytes"));
  EXPECT_THAT(ErrorOf({"nosuch"}), HasSubstr("nosuch"));
  EXPECT_THAT(ErrorOf({"/dev/zero"}), HasSubstr("not a regular file"));
  for (const char* command : {"show", "stat"}) {
    const ProgramEnd end = Run({"log", command, "garbage"});
    EXPECT_EQ(end.status, 2);
    EXPECT_THAT(end.err, AllOf(StartsWith("plugpull: garbage"), HasSubstr("no dm-log-writes log")));
    EXPECT_THAT(end.out, IsEmpty());
  }
  EXPECT_EQ(Run({"log", "convert", "garbage", "-o", "converted"}).status, 2);
  EXPECT_FALSE(fs::exists(folder_ / "converted"));
}

TEST_F(CliLogTest, ALogThatIsCutShortIsReadAsFarAsItGoesAndThatIsSaid) {
  const std::string whole = PlainLog();
  const std::string cut = whole.substr(0, whole.size() * 3 / 4);
  WriteText(folder_ / "cut", cut);
  const ProgramEnd stat = Run({"log", "stat", "cut"});
  EXPECT_EQ(stat.status, 0) << stat.err;
  EXPECT_THAT(stat.out, AllOf(HasSubstr("440 entries counted"), HasSubstr("not read: ")));
  const ProgramEnd check = Run({"check", "--log", "cut", "--max-states", "100"});
  EXPECT_EQ(check.status, 3) << check.out;
  EXPECT_THAT(check.out, AllOf(HasSubstr("the recording is incomplete"), HasSubstr("not read")));
}

TEST_F(CliLogTest, ConvertingKeepsEveryEntry) {
  const std::string first = PlainLog();
  EXPECT_EQ(Run({"log", "convert", "plain.log", "-o", "again.log"}).status, 0);
  const auto second = os::ReadFile(folder_ / "again.log", Mebibytes(64));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(first, *second);
  const ProgramEnd ours = Run({"log", "stat", kOrdered});
  const ProgramEnd plain = Run({"log", "stat", "plain.log"});
  EXPECT_EQ(ours.out, plain.out);
  EXPECT_THAT(plain.out, HasSubstr("log sectors of 512 bytes, 440 entries counted, 440 read"));
  const ProgramEnd some = Run({"log", "show", "plain.log", "--first", "438", "--count", "10"});
  EXPECT_EQ(some.status, 0);
  EXPECT_THAT(some.out, AllOf(StartsWith("     438 "), HasSubstr("\n     439 ")));
  const ProgramEnd behind = Run({"log", "show", "plain.log", "--first", "440"});
  EXPECT_EQ(behind.status, 2);
  EXPECT_THAT(behind.err, HasSubstr("the log has 440 entries"));
}

TEST_F(CliLogTest, AForeignLogOfAnHonestDiskHolds) {
  PlainLog();
  const ProgramEnd table = Run({"check", "--log", "plain.log", "--max-states", "900"});
  EXPECT_EQ(table.status, 0) << table.out;
  EXPECT_THAT(table.out, AllOf(HasSubstr("holds"), HasSubstr("commits 32"),
                               HasSubstr("result       as expected")));
  // The same disk as one that ignores flushes: the commands that rebuild a state work on logs, too.
  const ProgramEnd lying = Run({"check", "--log", "plain.log", "--lying", "--max-states", "900"});
  EXPECT_EQ(lying.status, 1) << lying.out;
  const size_t at = lying.out.find("materialize --log plain.log ");
  ASSERT_NE(at, std::string::npos) << lying.out;
  const std::string id = lying.out.substr(at + 28, lying.out.find(" -o", at) - at - 28);
  const ProgramEnd image = Run({"materialize", "--log", "plain.log", id, "-o", "broken.img"});
  EXPECT_EQ(image.status, 0) << image.err;
  EXPECT_TRUE(fs::exists(folder_ / "broken.img"));
}

TEST_F(CliLogTest, WhatTheHeaderDoesNotCountIsReadOnlyWhenAsked) {
  std::string log = PlainLog();
  const uint64_t counted = 100;
  std::memcpy(log.data() + 16, &counted, sizeof counted);
  WriteText(folder_ / "killed", log);
  const ProgramEnd plain = Run({"log", "stat", "killed"});
  EXPECT_THAT(plain.out, AllOf(HasSubstr("100 entries counted, 100 read"), HasSubstr("not read: "),
                               HasSubstr("--scan-past-end")));
  const ProgramEnd partly = Run({"check", "--log", "killed", "--max-states", "100"});
  EXPECT_EQ(partly.status, 0) << partly.out;
  EXPECT_THAT(partly.out, HasSubstr("--scan-past-end"));
  const ProgramEnd scanned = Run({"log", "stat", "killed", "--scan-past-end"});
  EXPECT_THAT(scanned.out, HasSubstr("100 entries counted, 440 read"));
  const ProgramEnd check =
      Run({"check", "--log", "killed", "--scan-past-end", "--max-states", "900"});
  EXPECT_EQ(check.status, 0) << check.out;
  EXPECT_THAT(check.out, HasSubstr("commits 32"));
  std::memset(log.data() + 16, 0, 8);
  WriteText(folder_ / "killed", log);
  EXPECT_THAT(ErrorOf({"killed"}), AllOf(HasSubstr("no writes"), HasSubstr("--scan-past-end")));
}

TEST_F(CliLogTest, ALogWithoutAMountSaysWhatToDo) {
  const std::string image = FreshExt4();
  blocklog::LogWriter writer;
  writer.Write(Bytes(0), {reinterpret_cast<const uint8_t*>(image.data()), image.size()});
  writer.Flush();
  WriteText(folder_ / "unmounted", Text(writer.bytes()));
  EXPECT_THAT(ErrorOf({"unmounted"}), AllOf(HasSubstr("no ext4 file system is mounted in this log"),
                                            HasSubstr("--base IMG"), HasSubstr("--from mkfs")));
  const ProgramEnd based = Run({"check", "--log", "unmounted", "--base", "fresh.img"});
  EXPECT_EQ(based.status, 0) << based.out;
  EXPECT_THAT(based.out, HasSubstr("weak"));
  WriteText(folder_ / "small.img", std::string(4096, '\0'));
  EXPECT_THAT(ErrorOf({"unmounted", "--base", "small.img"}),
              HasSubstr("is it the log of another disk?"));
  EXPECT_THAT(ErrorOf({"unmounted", "--base", "nosuch"}), HasSubstr("nosuch"));
}

// What the guest of a QEMU with its blklogwrites driver would send: forced writes are a write and
// a flush there, since virtio-blk has no others.
std::string QemuIoCommands(const std::string& log, const TestFolder& folder) {
  const auto read =
      blocklog::ReadLog({reinterpret_cast<const uint8_t*>(log.data()), log.size()}, {});
  EXPECT_TRUE(read.ok());
  std::string commands;
  for (const auto& entry : read->entries) {
    if (entry.is_mark() || entry.offset.value >= kDiskBytes) continue;
    if (entry.flush()) commands += "flush\n";
    if (!entry.data.empty()) {
      const std::string file = folder / ("data-" + std::to_string(entry.index));
      WriteText(file, Text(entry.data));
      commands += "write -s " + file + " " + std::to_string(entry.offset.value) + " " +
                  std::to_string(entry.data.size()) + "\n";
    }
    if (entry.fua()) commands += "flush\n";
  }
  return commands;
}

TEST_F(CliLogTest, QemusOwnLogsHoldWithSmallAndLargeSectors) {
  const auto qemu_io = os::FindProgram("qemu-io", "qemu-utils");
  if (!qemu_io.ok()) GTEST_SKIP() << "qemu-io (package qemu-utils) is not installed";
  WriteText(folder_ / "commands", QemuIoCommands(PlainLog(), folder_));
  for (const std::string sector : {"512", "4096"}) {
    const std::string log = "qemu-" + sector;
    std::error_code error;
    for (const std::string& file : {std::string("disk"), log}) {
      fs::remove(folder_ / file, error);
      WriteText(folder_ / file, "");
      fs::resize_file(folder_ / file, kDiskBytes, error);
    }
    os::SubprocessOptions options;
    options.argv = {"/bin/sh",
                    "-c",
                    "exec \"$0\" \"$@\" < commands",
                    *qemu_io,
                    "-t",
                    "writeback",
                    "--image-opts",
                    "driver=blklogwrites,file.driver=file,file.filename=disk,log.driver=file,"
                    "log.filename=" +
                        log + ",log-sector-size=" + sector};
    options.folder = folder_.path();
    const auto written = os::RunProgram(options, Millis(60'000));
    ASSERT_TRUE(written.ok()) << written.error().ToString();
    ASSERT_EQ(written->exit.code, 0) << written->out;
    const ProgramEnd stat = Run({"log", "stat", log});
    EXPECT_THAT(stat.out, AllOf(StartsWith("log sectors of " + sector + " bytes"),
                                Not(HasSubstr("not read"))));
    const ProgramEnd check = Run({"check", "--log", log, "--max-states", "900"});
    EXPECT_EQ(check.status, 0) << check.out;
    // Of 1 KiB blocks in 4 KiB log sectors, too, each commit is counted once.
    EXPECT_THAT(check.out, AllOf(HasSubstr("holds"), HasSubstr("commits 32, tail moves 8")));
    EXPECT_THAT(check.out, Not(HasSubstr("weak")));
  }
}

}  // namespace
}  // namespace plugpull
