// SPDX-License-Identifier: Apache-2.0
// Scenarios with power cuts, recorded with machines that are not there: the first boot leaves what
// a real guest had written up to an acknowledgement, the later ones what a test has them write.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "framework/blocklog/format.h"
#include "framework/blocklog/history.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/log_writer.h"
#include "framework/recording/recording.h"
#include "framework/report/summary.h"
#include "framework/run/campaign.h"
#include "framework/run/guest_session.h"
#include "framework/run/materialize.h"
#include "framework/run/recovery_log.h"
#include "framework/scenario/boots.h"
#include "framework/scenario/load.h"
#include "tests/support/program.h"
#include "vm/fake/fake_machine.h"

namespace plugpull::run {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using vm::FakeReply;

const std::string kRecordings = std::string(PLUGPULL_SOURCE_DIR) + "/tests/golden/recordings/";
constexpr Bytes kDisk = Mebibytes(16);
constexpr uint64_t kWholeBlock = 1024;

constexpr char kHead[] = R"(
  name: "cut"
  guest { boot_timeout_ms: 1000 }
  disk { name: "vol" size_mib: 16 layer { log_writes {} } }
  step { mkfs { disk: "vol" } }
  step { mount { disk: "vol" at: "/data" } }
  check { disk: "vol" max_states: 300 }
)";

// What a boot does beyond what its steps ask for.
using Writes = std::function<void(std::vector<uint8_t>& disk, blocklog::LogWriter& log)>;

class PowerCutTest : public ::testing::Test {
 protected:
  PowerCutTest() : folder_("power-cut"), workdir_(*Workdir::Open(folder_ / "out")) {}

  // The golden recording whose guest the first boot is, up to the mark behind `operations`.
  void UseGolden(const std::string& name, uint64_t operations) {
    const auto reader = recording::Reader::Open(kRecordings + name);
    ASSERT_TRUE(reader.ok()) << reader.error().ToString();
    const auto log = reader->ReadLog(*reader->FindDisk("vol"));
    const auto traces = reader->ReadTraces("vol");
    ASSERT_TRUE(log.ok() && traces.ok());
    trace_ = traces->at(0);
    auto read = blocklog::ReadLog(*log, {true, std::nullopt});
    ASSERT_TRUE(read.ok());
    const std::string wanted = "ack 0.";
    size_t end = 0;
    for (size_t i = 0; i < read->entries.size(); ++i) {
      const auto mark = blocklog::DecodeMark(read->entries[i].data);
      if (!mark || mark->kind != "ack") continue;
      const uint64_t operation = std::stoull(mark->text.substr(2));
      if (operation >= operations) continue;
      end = i + 1;
      done_ = operation + 1;
    }
    ASSERT_GT(end, 0U);
    read->entries.resize(end);
    first_log_ = blocklog::LogWriter(read->sector_bytes);
    AddEntries(*read, first_log_);
    first_disk_.assign(kDisk.value, 0);
    for (const auto& entry : read->entries) {
      if (entry.data.empty() || entry.offset >= kDisk) continue;
      std::ranges::copy(entry.data,
                        first_disk_.begin() + static_cast<ptrdiff_t>(entry.offset.value));
    }
    trace_.mutable_result()->DeleteSubrange(static_cast<int>(done_),
                                            trace_.result_size() - static_cast<int>(done_));
  }

  void Load(const std::string& rest) {
    Scenario scenario;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kHead + rest, &scenario));
    for (Step& step : *scenario.mutable_step()) step.set_timeout_ms(1000);
    auto plans = scenario::ExpandPlans(scenario);
    ASSERT_TRUE(plans.ok()) << plans.error().ToString();
    plans_ = *std::move(plans);
  }

  // A machine of boot `boot`, from 0.
  Result<std::unique_ptr<vm::Machine>> Start(const vm::MachineOptions& options, size_t boot) {
    EXPECT_TRUE(os::WriteFileAtomic(options.console_log, "console\n").ok());
    std::vector<uint8_t> disk(kDisk.value);
    EXPECT_TRUE(os::PreadAll(options.disks[0].fd, disk, Bytes(0)).ok());
    begun_with_.push_back(disk);
    requests_.emplace_back();
    blocklog::LogWriter log = boot == 0 ? first_log_ : blocklog::LogWriter();
    if (boot == 0) {
      disk = first_disk_;
    } else {
      AddMark(kDisk, "base", "vol", log);
      if (boot <= later_.size() && later_[boot - 1]) later_[boot - 1](disk, log);
    }
    AddMark(kDisk, "end", "vol", log);
    EXPECT_TRUE(os::PwriteAll(options.disks[0].fd, disk, Bytes(0)).ok());
    EXPECT_TRUE(os::PwriteAll(options.disks[1].fd, log.bytes(), Bytes(0)).ok());
    vm::FakeScript script;
    script.on_request = [this, boot](const GuestRequest& request) {
      requests_[boot].push_back(request);
      FakeReply reply;
      if (request.has_run_workload() && boot == 0) {
        *reply.progress.emplace_back().mutable_result() = trace_.result();
        reply.answer.set_stopped(moment_comes_ && request.run_workload().has_stop_when());
        reply.answer.set_kernel_log_cut(lines_lost_);
      }
      if (request.has_mount() && boot == panics_in_) reply.fate = FakeReply::Fate::kPanic;
      return reply;
    };
    return vm::FakeMachineFactory(script)(options);
  }

  RunReport Run() {
    begun_with_.clear();
    requests_.clear();
    CampaignOptions options;
    options.image = GuestImage{"/nonexistent/kernel", "/nonexistent/initramfs", "tcg", "a test"};
    options.start_machine = [this](const vm::MachineOptions& machine) {
      return Start(machine, begun_with_.size());
    };
    const ReportList reports =
        RunCampaign({{plans_[0], "cut.textproto", "cut/default"}}, workdir_, options);
    status_ = report::ExitStatus(reports);
    return reports.run(0);
  }

  std::string Folder(uint32_t boot) const {
    const std::string first = workdir_.RecordingFolder("cut/default");
    return boot == 1 ? first : Workdir::BootRecording(first, boot);
  }
  Recording Manifest(uint32_t boot) const {
    const auto reader = recording::Reader::Open(Folder(boot));
    EXPECT_TRUE(reader.ok()) << reader.error().ToString();
    return reader.ok() ? reader->manifest() : Recording();
  }
  // The image of the state that the first boot left.
  std::vector<uint8_t> Rebuild() {
    const std::string image = folder_ / "state.img";
    StateImageRequest request;
    request.recording = Folder(1);
    request.id = Manifest(1).power_cut().chosen(0).state();
    request.image = image;
    const auto written = WriteStateImage(request);
    EXPECT_TRUE(written.ok()) << written.error().ToString();
    const auto file = os::MappedFile::Open(image);
    EXPECT_TRUE(file.ok());
    return {file->bytes().begin(), file->bytes().end()};
  }
  static std::vector<std::string> Notes(const RunReport& report, int disk) {
    return {report.disk(disk).note().begin(), report.disk(disk).note().end()};
  }
  static const Finding* FindingOf(const DiskReport& disk, FindingClass wanted) {
    for (const Finding& finding : disk.finding()) {
      if (finding.kind() == Finding::VIOLATED && finding.class_() == wanted) return &finding;
    }
    return nullptr;
  }
  static bool Asked(const std::vector<GuestRequest>& requests, GuestRequest::KindCase kind) {
    return std::any_of(requests.begin(), requests.end(),
                       [&](const GuestRequest& request) { return request.kind_case() == kind; });
  }

  TestFolder folder_;
  Workdir workdir_;
  std::vector<scenario::Plan> plans_;
  blocklog::LogWriter first_log_;
  std::vector<uint8_t> first_disk_;
  WorkloadTrace trace_;
  uint64_t done_ = 0;  // operations of the first boot
  bool moment_comes_ = true;
  bool lines_lost_ = false;
  std::optional<size_t> panics_in_;  // a boot, from 0
  std::vector<Writes> later_;
  std::vector<std::vector<uint8_t>> begun_with_;     // of each boot
  std::vector<std::vector<GuestRequest>> requests_;  // of each boot
  int status_ = -1;
};

constexpr char kWorkloadCutOff[] = R"(
  step { power_cut { nothing_volatile {} } when { after_operations: 30 } }
  step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } }
)";
constexpr char kMountAgain[] = R"(step { mount { disk: "vol" at: "/data" } })";

// Zeroes every block that has bytes of a workload's file in it.
void LoseFiles(std::vector<uint8_t>& disk, blocklog::LogWriter& log) {
  const std::vector<uint8_t> zeroes(kWholeBlock);
  const std::string_view all(reinterpret_cast<const char*>(disk.data()), disk.size());
  for (size_t at = all.find("plugcell"); at != std::string_view::npos;) {
    const size_t block = at / kWholeBlock * kWholeBlock;
    log.Write(Bytes(block), zeroes);
    std::fill_n(disk.begin() + static_cast<ptrdiff_t>(block), kWholeBlock, 0);
    at = all.find("plugcell", block + kWholeBlock);
  }
  log.Flush();
}

TEST_F(PowerCutTest, TheNextBootBeginsWithTheStateAndEachIsARecording) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  const RunReport report = Run();
  EXPECT_FALSE(report.has_error()) << report.error();
  EXPECT_TRUE(report.as_expected()) << report.ShortDebugString();
  ASSERT_EQ(begun_with_.size(), 2U);
  EXPECT_EQ(begun_with_[1], Rebuild());

  const Recording first = Manifest(1);
  EXPECT_EQ(first.boot().number(), 1U);
  EXPECT_EQ(first.boot().boots(), 2U);
  EXPECT_EQ(first.scenario().step_size(), 4);
  EXPECT_EQ(first.power_cut().step(), 3U);
  EXPECT_TRUE(first.power_cut().chosen(0).holds());
  EXPECT_THAT(first.power_cut().chosen(0).shows(), ElementsAre());
  const Recording second = Manifest(2);
  EXPECT_EQ(second.boot().first_step(), 5U);
  EXPECT_EQ(second.boot().parent(), "../../../recording");
  EXPECT_EQ(second.disk(0).state(), first.power_cut().chosen(0).state());
  ASSERT_EQ(second.boot().promise_size(), 1);
  EXPECT_EQ(second.boot().promise(0).ended(), done_);
  EXPECT_EQ(second.boot().promise(0).begun(), done_) << "the guest stopped between two operations";

  ASSERT_EQ(report.disk_size(), 2);
  EXPECT_EQ(report.disk(0).boot(), 1U);
  EXPECT_EQ(report.disk(1).boot(), 2U);
  EXPECT_EQ(report.disk(0).enumerator(3).name(), "power cut");
  EXPECT_THAT(Notes(report, 0),
              Contains(AllOf(HasSubstr("nothing volatile survives"), HasSubstr("shows nothing"),
                             HasSubstr("./plugpull materialize"))));
  EXPECT_GT(report.disk(1).states().holds(), 0U);
}

TEST_F(PowerCutTest, TheGuestIsEndedAndNotSwitchedOff) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  Run();
  ASSERT_EQ(requests_.size(), 2U);
  EXPECT_TRUE(Asked(requests_[0], GuestRequest::kPreparePowerCut));
  EXPECT_FALSE(Asked(requests_[0], GuestRequest::kPowerOff));
  EXPECT_FALSE(Asked(requests_[1], GuestRequest::kPreparePowerCut));
  EXPECT_TRUE(Asked(requests_[1], GuestRequest::kPowerOff));
  // What the second boot does to its disk can be cut from the start.
  size_t base = 0;
  size_t mount = 0;
  for (size_t i = 0; i < requests_[1].size(); ++i) {
    if (requests_[1][i].write_mark().kind() == "base") base = i;
    if (requests_[1][i].has_mount()) mount = i;
  }
  EXPECT_GT(base, 0U);
  EXPECT_GT(mount, base);
}

TEST_F(PowerCutTest, TheSecondBootIsHeldToWhatTheFirstMadeDurable) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  later_ = {LoseFiles};
  const RunReport report = Run();
  EXPECT_EQ(status_, 1);
  ASSERT_EQ(report.disk_size(), 2);
  EXPECT_EQ(report.disk(0).finding_size(), 0);
  const Finding* lost = FindingOf(report.disk(1), DURABILITY_LOST);
  ASSERT_NE(lost, nullptr);
  EXPECT_THAT(lost->evidence(), HasSubstr("of boot 1: "));
  EXPECT_THAT(lost->command(), HasSubstr("boots/2/recording"));

  CheckOptions options;
  const RunReport alone = CheckRecording(Folder(2), options);
  ASSERT_EQ(alone.disk_size(), 1);
  EXPECT_NE(FindingOf(alone.disk(0), DURABILITY_LOST), nullptr);
  EXPECT_FALSE(alone.as_expected());
}

TEST_F(PowerCutTest, WhatTheStateLacksIsTheFirstBootsFinding) {
  UseGolden("writeback_nobarrier", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain +
       "expect { found: DURABILITY_LOST found: METADATA_INCONSISTENT found: JOURNAL_REFUSED }");
  const RunReport report = Run();
  ASSERT_EQ(report.disk_size(), 2) << report.error();
  // Without a flush, nothing but the base survives.
  EXPECT_THAT(Manifest(1).power_cut().chosen(0).shows(), Contains(DURABILITY_LOST));
  EXPECT_NE(FindingOf(report.disk(0), DURABILITY_LOST), nullptr);
  EXPECT_EQ(report.disk(1).finding_size(), 0);
  EXPECT_EQ(Manifest(2).boot().promise_size(), 0);
  EXPECT_THAT(Notes(report, 1), Contains(HasSubstr("is not held against later boots")));
}

TEST_F(PowerCutTest, TheSeedChoosesASample) {
  UseGolden("writeback_nobarrier", 30);
  const auto sampled = [&](uint64_t seed) {
    Load(std::string(R"(step { power_cut { sample {} } when { after_operations: 30 } }
      step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } })") +
         kMountAgain + "seed: " + std::to_string(seed));
    Run();
    const ChosenState chosen = Manifest(1).power_cut().chosen(0);
    EXPECT_GT(chosen.lost_writes(), 10U);
    EXPECT_EQ(begun_with_.at(1), Rebuild());
    return chosen.state();
  };
  const std::string state = sampled(5);
  EXPECT_EQ(sampled(5), state);
  EXPECT_NE(sampled(6), state);
}

TEST_F(PowerCutTest, AStateThatIsNamedIsTaken) {
  UseGolden("writeback_nobarrier", 30);
  const std::string steps =
      R"(step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } })";
  Load("step { power_cut { state: 'vol:cache@100' } when { after_operations: 30 } }" + steps +
       kMountAgain);
  Run();
  EXPECT_EQ(Manifest(1).power_cut().chosen(0).state(), "vol:cache@100");
  EXPECT_EQ(begun_with_.at(1), Rebuild());
  Load("step { power_cut { state: 'vol:cache@99999' } when { after_operations: 30 } }" + steps +
       kMountAgain);
  const RunReport report = Run();
  EXPECT_EQ(report.error_kind(), "user");
  EXPECT_THAT(report.error(), HasSubstr("vol:cache@99999 is no state of this boot"));
  EXPECT_EQ(status_, 2);
}

constexpr char kSearch[] = R"(
  step { power_cut { search { found: METADATA_INCONSISTENT within: 300 } }
         when { after_operations: 30 } }
  step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } }
)";

TEST_F(PowerCutTest, ASearchFindsABrokenStateAndTheNextBootIsNotBlamed) {
  UseGolden("writeback_nobarrier", 30);
  Load(std::string(kSearch) + kMountAgain +
       "expect { found: DURABILITY_LOST found: METADATA_INCONSISTENT found: JOURNAL_REFUSED }");
  const RunReport report = Run();
  const RecordedPowerCut cut = Manifest(1).power_cut();
  ASSERT_EQ(cut.chosen_size(), 1) << report.error() << cut.not_found();
  EXPECT_THAT(cut.chosen(0).shows(), Contains(METADATA_INCONSISTENT));
  EXPECT_FALSE(cut.chosen(0).holds());
  EXPECT_GT(cut.searched(), 0U);
  EXPECT_EQ(begun_with_.at(1), Rebuild());
  // What may mend it before it is mounted is not cut.
  const auto& second = requests_.at(1);
  const auto base = std::find_if(second.begin(), second.end(), [](const GuestRequest& request) {
    return request.write_mark().kind() == "base";
  });
  ASSERT_NE(base, second.end());
  EXPECT_TRUE(std::any_of(base, second.end(), [](const auto& r) { return r.has_mount(); }));
  ASSERT_EQ(report.disk_size(), 2);
  EXPECT_NE(FindingOf(report.disk(0), METADATA_INCONSISTENT), nullptr);
  EXPECT_EQ(report.disk(1).finding_size(), 0);
  EXPECT_THAT(Notes(report, 1), Contains(HasSubstr("no state of this boot was judged")));
}

TEST_F(PowerCutTest, ASearchThatFindsNothingIsAFinding) {
  UseGolden("ordered", 30);
  Load(std::string(kSearch) + kMountAgain);
  RunReport report = Run();
  EXPECT_EQ(status_, 1);
  EXPECT_EQ(begun_with_.size(), 1U);
  ASSERT_EQ(report.disk_size(), 1);
  const Finding* none = FindingOf(report.disk(0), NO_SUCH_STATE);
  ASSERT_NE(none, nullptr);
  EXPECT_THAT(none->evidence(),
              AllOf(HasSubstr("no state of "), HasSubstr(" shows METADATA_INCONSISTENT"),
                    HasSubstr("were not carried out")));
  EXPECT_FALSE(none->expected());
  EXPECT_FALSE(fs::exists(Folder(2)));
  EXPECT_THAT(report::Differences(report), Contains(HasSubstr("not expected: NO_SUCH_STATE")));
  Load(std::string(kSearch) + kMountAgain + "expect { found: NO_SUCH_STATE }");
  report = Run();
  EXPECT_TRUE(report.as_expected());
  EXPECT_EQ(status_, 0);
}

TEST_F(PowerCutTest, ThereMayBeMoreThanOneCut) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain + "step { power_cut { nothing_volatile {} } }" +
       kMountAgain);
  later_ = {nullptr, LoseFiles};
  const RunReport report = Run();
  ASSERT_EQ(begun_with_.size(), 3U) << report.error();
  EXPECT_EQ(begun_with_[2], begun_with_[1]);
  EXPECT_EQ(Manifest(3).boot().parent(), "../../2/recording");
  ASSERT_EQ(Manifest(3).boot().promise_size(), 1);
  EXPECT_EQ(Manifest(3).boot().promise(0).boot(), 1U);
  ASSERT_EQ(report.disk_size(), 3);
  EXPECT_EQ(report.disk(1).finding_size(), 0);
  EXPECT_NE(FindingOf(report.disk(2), DURABILITY_LOST), nullptr);
}

TEST_F(PowerCutTest, ACommandEndsWhatEarlierBootsPromised) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain + "step { command { argv: 'rm' } }");
  later_ = {LoseFiles};
  const RunReport report = Run();
  EXPECT_EQ(Manifest(2).boot().promise_size(), 0);
  ASSERT_EQ(report.disk_size(), 2) << report.error();
  EXPECT_THAT(Notes(report, 1), Contains(HasSubstr("its command rm may have changed any file")));
  EXPECT_EQ(FindingOf(report.disk(1), DURABILITY_LOST), nullptr);
}

TEST_F(PowerCutTest, AMomentThatNeverComesIsAnUnmetDemand) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  moment_comes_ = false;
  const RunReport report = Run();
  EXPECT_EQ(report.error(), "");
  ASSERT_EQ(report.finding_size(), 1);
  EXPECT_EQ(report.finding(0).class_(), DEMAND_UNMET);
  EXPECT_THAT(report.finding(0).evidence(), HasSubstr("never came"));
  EXPECT_TRUE(fs::exists(Folder(1)));
  EXPECT_FALSE(fs::exists(Folder(2))) << "no power was cut, so nothing booted again";
}

TEST_F(PowerCutTest, AMomentThatMayHaveComeUnseenIsNotOneThatNeverCame) {
  UseGolden("ordered", 30);
  Load(std::string(R"(
    step { power_cut { nothing_volatile {} } when { kernel_log: "EXT4-fs error" } }
    step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } })") +
       kMountAgain);
  moment_comes_ = false;
  lines_lost_ = true;
  const RunReport report = Run();
  EXPECT_EQ(report.error_kind(), "guest");
  EXPECT_THAT(report.error(), AllOf(HasSubstr("matches \"EXT4-fs error\""),
                                    HasSubstr("may have come unseen"), HasSubstr("log_buf_len")));
  EXPECT_EQ(status_, 3);
}

TEST_F(PowerCutTest, AGuestThatFailsInALaterBootTakesNothingFromTheBootsBefore) {
  UseGolden("writeback_nobarrier", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain + "expect { found: METADATA_INCONSISTENT }");
  panics_in_ = 1;
  RunReport report = Run();
  EXPECT_EQ(report.error(), "");
  EXPECT_THAT(report.incomplete_reason(),
              AllOf(HasSubstr("boot 2 of 2, whose first step is step 5"), HasSubstr("panicked"),
                    HasSubstr("boot-2-console.log")));
  EXPECT_EQ(status_, 3);
  EXPECT_FALSE(report.as_expected());
  ASSERT_EQ(report.disk_size(), 1) << "the first boot is checked";
  EXPECT_NE(FindingOf(report.disk(0), DURABILITY_LOST), nullptr);
  EXPECT_FALSE(fs::exists(Folder(2)));
  EXPECT_TRUE(fs::exists(workdir_.FailedFolder("cut/default") + "/boot-2-console.log"));
  report = CheckRecording(Folder(1), {});
  EXPECT_EQ(report.error(), "");
  EXPECT_NE(report.incomplete_reason(), "");

  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain + "step { power_cut { nothing_volatile {} } }" +
       kMountAgain);
  panics_in_ = 2;
  report = Run();
  EXPECT_THAT(report.incomplete_reason(), AllOf(HasSubstr("boot 2: "), HasSubstr("boot 3 of 3")));
  EXPECT_EQ(report.disk_size(), 2);
  EXPECT_EQ(status_, 3);
}

TEST_F(PowerCutTest, AStateOfAnotherModelIsJudgedUnderItsOwn) {
  UseGolden("ordered", 30);
  const std::string named = "vol:lying@150-sample.7.600";
  const std::string rest = "step { power_cut { state: '" + named +
                           "' } when { after_operations: 30 } }" + R"(
      step { workload { at: "/data" seed: 11 files { count: 40 size_kib_max: 6 files_max: 12 } } }
      )" + kMountAgain;
  Load(rest);
  const RunReport report = Run();
  EXPECT_EQ(report.error(), "");
  ASSERT_EQ(Manifest(1).power_cut().chosen(0).state(), named);
  ASSERT_EQ(report.disk_size(), 3);
  EXPECT_EQ(report.disk(0).finding_size(), 0) << "with barriers nothing is lost";
  const DiskReport& own = report.disk(1);
  EXPECT_THAT(own.model(), HasSubstr("lying"));
  EXPECT_EQ(own.boot(), 1U);
  EXPECT_EQ(own.states().enumerated(), 1U);
  ASSERT_EQ(own.enumerator_size(), 1);
  EXPECT_EQ(own.enumerator(0).name(), "power cut");
  ASSERT_GT(own.finding_size(), 0);
  EXPECT_EQ(own.finding(0).example(), named);
  EXPECT_FALSE(report.as_expected());
  EXPECT_EQ(status_, 1);
}

TEST_F(PowerCutTest, AnUnknownOrderInTheStateThatACutLeftIsSaid) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain +
       "step { power_cut { sample { lose_permille: 0 } } }" + kMountAgain);
  later_ = {[](std::vector<uint8_t>& disk, blocklog::LogWriter& log) {
    const std::vector<uint8_t> first(kWholeBlock, 1);
    const std::vector<uint8_t> second(kWholeBlock, 2);
    const size_t at = disk.size() - kWholeBlock;
    log.Write(Bytes(at), first, blocklog::kFlagFua);
    log.Write(Bytes(at), second);
    std::ranges::copy(second, disk.begin() + static_cast<ptrdiff_t>(at));
  }};
  const RunReport report = Run();
  ASSERT_EQ(report.disk_size(), 3) << report.error();
  const auto& said = HasSubstr("order of overlapping writes is not known");
  EXPECT_THAT(Notes(report, 0), Not(Contains(said)));
  EXPECT_THAT(Notes(report, 1), Contains(said));
  const EnumeratorReport& cut = *report.disk(1).enumerator().rbegin();
  EXPECT_EQ(cut.name(), "power cut");
  EXPECT_EQ(cut.states().enumerated(), 2U) << "both orders are judged";
}

TEST_F(PowerCutTest, MkfsOfALaterBootIsNotCut) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + "step { mkfs { disk: 'vol' } }" + kMountAgain);
  Run();
  ASSERT_EQ(requests_.size(), 2U);
  EXPECT_TRUE(Manifest(1).power_cut().chosen(0).holds()) << "else nothing is cut before a mount";
  const auto place = [&](const std::function<bool(const GuestRequest&)>& is) {
    const auto& all = requests_[1];
    return std::find_if(all.begin(), all.end(), is) - all.begin();
  };
  const auto mkfs = place([](const GuestRequest& request) {
    return request.has_run_program() && request.run_program().argv(0) == "mkfs.ext4";
  });
  const auto base =
      place([](const GuestRequest& request) { return request.write_mark().kind() == "base"; });
  const auto mount = place([](const GuestRequest& request) { return request.has_mount(); });
  EXPECT_LT(mkfs, base);
  EXPECT_LT(base, mount);
  EXPECT_LT(mount, static_cast<ptrdiff_t>(requests_[1].size()));
}

TEST_F(PowerCutTest, ARecordingWithoutItsChosenStateIsNotAWholeOne) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  Run();
  Recording manifest = Manifest(1);
  manifest.clear_power_cut();
  ASSERT_TRUE(recording::ReplaceManifest(Folder(1), manifest).ok());
  const RunReport report = CheckRecording(Folder(1), {});
  EXPECT_THAT(report.error(), HasSubstr("what it left was never chosen"));
  EXPECT_EQ(report.error_kind(), "user");
}

TEST_F(PowerCutTest, ARunDoesNotLeaveTheBootsOfAnOlderOne) {
  UseGolden("ordered", 30);
  Load(std::string(kWorkloadCutOff) + kMountAgain);
  Run();
  ASSERT_TRUE(fs::exists(Folder(2)));
  ASSERT_TRUE(os::RemoveAll(Folder(2)).ok());
  const RunReport report = CheckRecording(Folder(1), {});
  EXPECT_THAT(report.error(), HasSubstr("boot 2 of 2 of the scenario"));
  moment_comes_ = false;
  ASSERT_TRUE(os::MakeFolders(Folder(2)).ok());
  Run();
  EXPECT_FALSE(fs::exists(Folder(2)));
}

TEST(BootsOfTest, CutsDivideTheSteps) {
  Scenario scenario;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    step { sync {} }
    step { power_cut {} }
    step { sync {} }
    step { power_cut {} when { guest_ms: 5 } }
    step { workload {} }
    step { sync {} })",
                                                            &scenario));
  const auto boots = scenario::BootsOf(scenario);
  ASSERT_EQ(boots.size(), 3U);
  EXPECT_EQ(boots[0].end, 2);
  EXPECT_EQ(boots[0].power_cut, 1);
  EXPECT_EQ(boots[1].first, 2);
  EXPECT_EQ(boots[1].end, 5);
  EXPECT_EQ(boots[1].power_cut, 3);
  EXPECT_EQ(boots[2].first, 5);
  EXPECT_EQ(boots[2].end, 6);
  EXPECT_EQ(boots[2].power_cut, -1);
}

}  // namespace
}  // namespace plugpull::run
