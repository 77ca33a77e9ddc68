// SPDX-License-Identifier: Apache-2.0
// From a recording of a poisoned disk to the report: a file system that lets metadata go before
// the data that it points at is caught, and its twin that keeps the order passes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ext4_tools.h"
#include "framework/blocklog/log_writer.h"
#include "framework/blocklog/mark.h"
#include "framework/image/poison.h"
#include "framework/recording/recording.h"
#include "framework/run/check.h"
#include "framework/run/disk_source.h"
#include "memory_view.h"

namespace plugpull::run {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Property;

constexpr uint64_t kSeed = 3;
constexpr size_t kDisk = 4 << 20;
constexpr size_t kStrip = 1 << 20;
constexpr size_t kBlock = 1024;
constexpr size_t kFileBytes = 4 * kBlock;

std::string FileBytes(uint64_t file, uint64_t version) {
  std::string bytes(kFileBytes, '\0');
  workload::FillContent(file, version, 0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return bytes;
}

// Writes a recording by hand: mkfs over poison, then a file, its data before or behind the
// metadata that points at it, with a flush between.
class StaleDataCheck : public testing::Test {
 protected:
  void SetUp() override {
    script_.Create("a", 1).Write("a", 1, 0, kFileBytes);
    scenario_.set_name("stale");
    scenario_.add_disk()->set_name("vol");
    MountStep& mount = *scenario_.add_step()->mutable_mount();
    mount.set_disk("vol");
    mount.set_at("/data");
    Check& check = *scenario_.add_check();
    check.set_disk("vol");
    check.add_enumerate()->mutable_prefix()->set_at(PrefixEnumerator::EVERY_FLUSH);
    check.add_oracle(FSCK);
    check.add_oracle(STALE_DATA);
    disk_.set_name("vol");
    disk_.set_size_bytes(kDisk);
    disk_.set_strip_bytes(kStrip);
    disk_.set_log_file("vol.log.zst");
    disk_.set_sends_flushes(true);
    disk_.set_poison_seed(kSeed);
  }

  ext4::Image Poisoned() const {
    ext4::Image image(kDisk);
    image::FillPoison(kSeed, 0, image);
    return image;
  }

  // Writes the blocks that differ and that are wanted; all others stay.
  template <typename Wanted>
  void WriteDifferences(const ext4::Image& before, const ext4::Image& after, const Wanted& wanted) {
    for (size_t at = 0; at < kDisk; at += kBlock) {
      const auto block = std::span(after).subspan(at, kBlock);
      if (std::equal(block.begin(), block.end(), before.begin() + static_cast<ptrdiff_t>(at))) {
        continue;
      }
      if (wanted(block)) log_.Write(Bytes(at), block);
    }
  }

  void MakeLog(bool data_first) {
    const ext4::Image poisoned = Poisoned();
    ext4::Image made = poisoned;
    const ext4::ToolEnd end = ext4::RunTool(
        "mkfs.ext4",
        {"-q", "-F", "-t", "ext4", "-b", "1024", "-N", "64", "-O", ext4::kFeatures, "-J", "size=1",
         "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0", "@image"},
        made);
    ASSERT_EQ(end.status, 0) << end.out;
    ext4::Image with_file = made;
    ext4::Debugfs(with_file, {"write @input a"}, FileBytes(1, 2));
    const auto is_data = [](std::span<const uint8_t> block) {
      return workload::DecodeCell(block.first(workload::kCellBytes)).has_value();
    };
    const auto is_metadata = [&](std::span<const uint8_t> block) { return !is_data(block); };
    const auto all = [](std::span<const uint8_t>) { return true; };
    WriteDifferences(poisoned, made, all);
    log_.Write(Bytes(kDisk), blocklog::EncodeMark({"base", "vol"}));
    log_.Flush();
    if (data_first) WriteDifferences(made, with_file, is_data);
    log_.Flush();
    WriteDifferences(made, with_file, is_metadata);
    log_.Flush();
    if (!data_first) WriteDifferences(made, with_file, is_data);
    log_.Flush();
    log_.Write(Bytes(kDisk), blocklog::EncodeMark({"end", "vol"}));
    log_.Flush();
  }

  std::string WriteRecording(bool with_trace = true) {
    const std::string folder = folder_ / "recording";
    auto writer = recording::Writer::Start(folder);
    EXPECT_TRUE(writer.ok());
    EXPECT_TRUE(writer->AddCompressed("vol.log.zst", log_.bytes()).ok());
    WorkloadTrace trace = script_.trace();
    trace.set_disk("vol");
    trace.set_at("/data");
    if (with_trace) {
      EXPECT_TRUE(writer->AddTrace(trace).ok());
    }
    Recording manifest;
    manifest.set_seed(1);
    *manifest.mutable_scenario() = scenario_;
    disk_.set_log_bytes(log_.bytes().size());
    *manifest.add_disk() = disk_;
    EXPECT_TRUE(writer->Finish(manifest).ok());
    return folder;
  }

  RunReport CheckIt() { return CheckRecording(WriteRecording(), {}); }
  Model& model() { return *scenario_.mutable_check(0)->mutable_model(); }
  MountStep& mount() { return *scenario_.mutable_step(0)->mutable_mount(); }

  TestFolder folder_{"stale-data"};
  oracle::Script script_;
  blocklog::LogWriter log_;
  Scenario scenario_;
  RecordedDisk disk_;
};

TEST_F(StaleDataCheck, MetadataBeforeDataIsCaught) {
  MakeLog(false);
  const RunReport report = CheckIt();
  ASSERT_FALSE(report.has_error()) << report.error();
  ASSERT_EQ(report.disk_size(), 1);
  ASSERT_EQ(report.disk(0).finding_size(), 1) << report.DebugString();
  const Finding& finding = report.disk(0).finding(0);
  EXPECT_EQ(finding.kind(), Finding::VIOLATED);
  EXPECT_EQ(finding.class_(), STALE_DATA_EXPOSED);
  EXPECT_EQ(finding.oracle(), STALE_DATA);
  EXPECT_THAT(finding.evidence(), HasSubstr("/a: bytes 0 to 4095 hold what byte "));
  EXPECT_THAT(finding.evidence(), HasSubstr("data=ordered forbids it"));
  EXPECT_GT(report.disk(0).states().violated(), 0U);
  EXPECT_GT(report.disk(0).states().holds(), 0U) << "before the metadata, and with the data";
  EXPECT_FALSE(report.as_expected());
}

TEST_F(StaleDataCheck, ItIsExpectedWhereItIsListed) {
  MakeLog(false);
  scenario_.mutable_expect()->add_found(STALE_DATA_EXPOSED);
  mount().add_option("noatime,data=writeback");
  const RunReport report = CheckIt();
  EXPECT_TRUE(report.as_expected()) << report.DebugString();
  EXPECT_THAT(report.disk(0).finding(0).evidence(), HasSubstr("data=writeback allows it"));
}

TEST_F(StaleDataCheck, TheTwinThatKeepsTheOrderHolds) {
  MakeLog(true);
  const RunReport report = CheckIt();
  EXPECT_TRUE(report.as_expected()) << report.DebugString();
  EXPECT_EQ(report.disk(0).states().holds(), report.disk(0).states().enumerated());
  EXPECT_THAT(report.disk(0).judge(), Contains(AllOf(Property(&JudgeCount::judge, "stale data"),
                                                     Property(&JudgeCount::runs, Ge(2U)))));
}

TEST_F(StaleDataCheck, WhatIsListedAndNotFoundIsMissed) {
  MakeLog(true);
  scenario_.mutable_expect()->add_found(STALE_DATA_EXPOSED);
  const RunReport report = CheckIt();
  EXPECT_FALSE(report.as_expected());
  EXPECT_THAT(report.missed(), ElementsAre(STALE_DATA_EXPOSED));
}

TEST_F(StaleDataCheck, ADiskThatLiesOrHidesItsCacheHasTheFault) {
  MakeLog(false);
  model().set_kind(Model::LYING);
  RunReport report = CheckIt();
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  EXPECT_THAT(report.disk(0).finding(0).evidence(), HasSubstr("the disk ignored flushes"));
  model().clear_kind();
  disk_.set_sends_flushes(false);
  report = CheckIt();
  ASSERT_EQ(report.disk(0).finding_size(), 1);
  EXPECT_THAT(report.disk(0).finding(0).evidence(), HasSubstr("the disk hid its cache"));
}

TEST_F(StaleDataCheck, WithoutPoisonOrWorkloadItIsAMistakeAndNoVerdict) {
  MakeLog(true);
  RunReport report = CheckRecording(WriteRecording(false), {});
  EXPECT_EQ(report.error_kind(), "user");
  EXPECT_THAT(report.error(), HasSubstr("no files workload ran on it"));
  disk_.clear_poison_seed();
  report = CheckIt();
  EXPECT_EQ(report.error_kind(), "user");
  EXPECT_THAT(report.error(), HasSubstr("not filled with poison"));
}

TEST_F(StaleDataCheck, TheFillComesBackWithTheRecordingAndCostsItNothing) {
  MakeLog(true);
  const std::string folder = WriteRecording();
  const auto reader = recording::Reader::Open(folder);
  ASSERT_TRUE(reader.ok());
  const auto source = DiskSource::FromRecording(*reader, "vol", {});
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  EXPECT_TRUE((*source)->poisoned());
  ext4::Image expected = Poisoned();
  const auto& history = (*source)->history();
  for (size_t i = 0; i < history.base; ++i) {
    const auto& event = history.events[i];
    std::copy(event.data.begin(), event.data.end(),
              expected.begin() + static_cast<ptrdiff_t>(event.offset.value));
  }
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), (*source)->base().begin()));
  EXPECT_EQ(image::RecognisePoison((*source)->base().subspan(kDisk * 3 / 4, 32))->disk_offset,
            kDisk * 3 / 4);
  const std::string image = folder_ / "state.img";
  const auto first = crashstate::CrashStateId::Parse(
      "vol:cache@" + std::to_string((*source)->space().EntryOfCut(history.base)));
  ASSERT_TRUE((*source)->Materialize(*first, image).ok());
  const auto written = os::ReadFile(image, Bytes(kDisk));
  ASSERT_TRUE(written.ok());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), written->begin(),
                         [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); }));
  const auto log = os::ReadFile(folder + "/vol.log.zst", Bytes(kDisk));
  ASSERT_TRUE(log.ok());
  EXPECT_LT(log->size(), kDisk / 20);
}

TEST_F(StaleDataCheck, CutsFromMkfsOnSeePoisonToo) {
  MakeLog(true);
  const auto reader = recording::Reader::Open(WriteRecording());
  ASSERT_TRUE(reader.ok());
  const auto source = DiskSource::FromRecording(*reader, "vol", {.from_mkfs = true});
  ASSERT_TRUE(source.ok()) << source.error().ToString();
  const ext4::Image poisoned = Poisoned();
  EXPECT_TRUE(std::equal(poisoned.begin(), poisoned.end(), (*source)->base().begin()));
}

TEST_F(StaleDataCheck, APoisonedDiskOfMoreThanTheBoundIsRefused) {
  MakeLog(true);
  disk_.set_size_bytes((256ULL << 20) + kBlock);
  const auto reader = recording::Reader::Open(WriteRecording());
  ASSERT_TRUE(reader.ok());
  const auto source = DiskSource::FromRecording(*reader, "vol", {.from_mkfs = true});
  ASSERT_FALSE(source.ok());
  EXPECT_THAT(source.error().ToString(), HasSubstr("at most 268435456"));
}

}  // namespace
}  // namespace plugpull::run
