// SPDX-License-Identifier: Apache-2.0
#include "framework/run/disk_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ext4_tools.h"
#include "framework/blocklog/format.h"
#include "framework/blocklog/log_writer.h"
#include "framework/os/file.h"
#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull::run {
namespace {

using crashstate::CrashStateId;
using ::testing::HasSubstr;

constexpr size_t kDisk = 1 << 20;

std::vector<uint8_t> Block(char fill, size_t bytes = 4096) {
  return std::vector<uint8_t>(bytes, static_cast<uint8_t>(fill));
}

std::string Read(const std::string& path) {
  const auto text = os::ReadFile(path, Bytes(16 << 20));
  EXPECT_TRUE(text.ok());
  return text.ok() ? *text : "";
}

class DiskSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    writer_.Write(Bytes(4096), Block('a'));
    writer_.Flush();
    writer_.Write(Bytes(8192), Block('b'));
    writer_.Write(Bytes(kDisk - 4096), Block('c'));
    SaveLog();
    ASSERT_TRUE(os::WriteFileAtomic(base_, std::string(4096, 'B')).ok());
    ASSERT_EQ(::truncate(base_.c_str(), kDisk), 0);
  }
  void SaveLog() {
    const auto& bytes = writer_.bytes();
    ASSERT_TRUE(
        os::WriteFileAtomic(log_, {reinterpret_cast<const char*>(bytes.data()), bytes.size()})
            .ok());
  }
  static constexpr crashstate::DeviceModel kFromMkfs{.from_mkfs = true};

  TestFolder folder_{"disk-source"};
  std::string log_ = folder_ / "log";
  std::string base_ = folder_ / "base.img";
  blocklog::LogWriter writer_;
};

// Nobody writes to the end of a fresh file system, which reaches there all the same.
TEST_F(DiskSourceTest, WithoutABaseTheDiskIsAsLargeAsItsFileSystem) {
  const ext4::Image image = ext4::MakeExt4({.mib = 6});
  for (const size_t piece : {512UL, 4096UL}) {
    writer_ = blocklog::LogWriter();
    for (size_t at = 0; at < 64 << 10; at += piece) {
      writer_.Write(Bytes(at), std::span(image).subspan(at, piece));
    }
    SaveLog();
    const auto source = DiskSource::FromLogFile({log_, "", false, kFromMkfs});
    ASSERT_TRUE(source.ok()) << source.error().ToString();
    EXPECT_EQ((*source)->base().size(), image.size()) << "in pieces of " << piece;
  }
}

TEST_F(DiskSourceTest, ALogWithItsBaseGivesItsStates) {
  const auto source = DiskSource::FromLogFile({log_, base_, false, kFromMkfs});
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  EXPECT_EQ((*source)->name(), "log");
  EXPECT_EQ((*source)->space().last_cut(), 4U);
  EXPECT_TRUE((*source)->journal().blocks.empty());
  const std::string image = folder_ / "state.img";
  const auto id = CrashStateId::Parse("log:cache.mkfs@4-lose.2");
  ASSERT_TRUE((*source)->Materialize(*id, image).ok());
  std::string expected(kDisk, '\0');
  expected.replace(0, 4096, 4096, 'B');
  expected.replace(4096, 4096, 4096, 'a');
  expected.replace(kDisk - 4096, 4096, 4096, 'c');
  EXPECT_EQ(Read(image), expected);
  struct stat info {};
  ASSERT_EQ(::stat(image.c_str(), &info), 0);
  EXPECT_LT(static_cast<size_t>(info.st_blocks) * 512, kDisk / 2) << "it is sparse";
}

TEST_F(DiskSourceTest, WithoutABaseTheDiskIsZeroAndEndsWithTheLastWrite) {
  writer_.Discard(Bytes(0), Bytes(kDisk * 4));
  writer_.Discard(Bytes(kDisk * 4), Bytes(kDisk));
  SaveLog();
  const auto source = DiskSource::FromLogFile({log_, "", false, kFromMkfs});
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  EXPECT_EQ((*source)->history().device_size.value, kDisk);
}

TEST_F(DiskSourceTest, AnIdOfAnotherPlaceIsRefusedAndNothingIsLeft) {
  const auto source = DiskSource::FromLogFile({log_, base_, false, kFromMkfs});
  ASSERT_TRUE(source.ok());
  const std::string image = folder_ / "state.img";
  for (const char* text :
       {"log:cache.mkfs@99", "log:cache.mkfs@4-lose.0", "log:cache.mkfs@4-keep.1"}) {
    const Status status = (*source)->Materialize(*CrashStateId::Parse(text), image);
    ASSERT_FALSE(status.ok()) << text;
    EXPECT_EQ(status.error().code, ErrorCode::kUser);
  }
  const Status status =
      (*source)->Materialize(*CrashStateId::Parse("log:cache.mkfs@4"), folder_ / "no/such/folder");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kEnvironment);
  EXPECT_FALSE(os::Exists(image));
  EXPECT_FALSE(os::Exists(image + ".partial"));
}

TEST_F(DiskSourceTest, WhatIsNoLogOrNotOfThisDiskIsAUserError) {
  const auto refused = [&](const std::string& log, const std::string& base, const char* why) {
    const auto source = DiskSource::FromLogFile({log, base, false, kFromMkfs});
    ASSERT_FALSE(source.ok()) << why;
    EXPECT_EQ(source.error().code, ErrorCode::kUser) << source.error().ToString();
    EXPECT_THAT(source.error().ToString(), HasSubstr(why));
  };
  refused(folder_ / "none", base_, "none");
  refused(log_, folder_ / "none", "none");
  refused(base_, base_, "no dm-log-writes log");
  ASSERT_TRUE(os::WriteFileAtomic(folder_ / "small", std::string(8192, 'x')).ok());
  refused(log_, folder_ / "small", "is it the log of another");
  ASSERT_TRUE(os::WriteFileAtomic(folder_ / "odd", std::string(kDisk + 1, 'x')).ok());
  refused(log_, folder_ / "odd", "sectors of 512");
  writer_ = blocklog::LogWriter();
  writer_.Flush();
  SaveLog();
  refused(log_, "", "no writes");
  ASSERT_TRUE(os::WriteFileAtomic(folder_ / "empty", "").ok());
  refused(folder_ / "empty", base_, "0 bytes");
}

TEST_F(DiskSourceTest, AMountIsLookedForUnlessAskedNotTo) {
  const auto source = DiskSource::FromLogFile({log_, base_, false, {}});
  ASSERT_FALSE(source.ok());
  EXPECT_THAT(source.error().ToString(), HasSubstr("--from mkfs"));
}

TEST_F(DiskSourceTest, ARecordingsDisksAreNamed) {
  const std::string rec = folder_ / "rec";
  auto writer = recording::Writer::Start(rec);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->AddCompressed("vol.log.zst", writer_.bytes()).ok());
  Recording manifest;
  RecordedDisk& disk = *manifest.add_disk();
  disk.set_name("vol");
  disk.set_size_bytes(kDisk);
  disk.set_log_file("vol.log.zst");
  disk.set_log_bytes(writer_.bytes().size());
  ASSERT_TRUE(writer->Finish(manifest).ok());
  const auto reader = recording::Reader::Open(rec);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(DiskSource::FromRecording(*reader, "vol", kFromMkfs).ok());
  const auto none = DiskSource::FromRecording(*reader, "other", kFromMkfs);
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().ToString(), HasSubstr("it has: vol"));
}

TEST(ModelOf, CarriesEveryFieldThatShapesAState) {
  Model model;
  EXPECT_EQ(ModelOf(model), crashstate::DeviceModel{});
  model.set_kind(Model::LYING);
  model.set_window(9);
  model.set_discard(Model::DISCARD_KEEPS);
  model.set_from(Model::MKFS);
  EXPECT_EQ(ModelOf(model),
            (crashstate::DeviceModel{
                .lying = true, .window = 9, .discard_keeps = true, .from_mkfs = true}));
}

}  // namespace
}  // namespace plugpull::run
