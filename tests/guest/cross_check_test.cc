// SPDX-License-Identifier: Apache-2.0
// One run in a real guest, recorded by dm-log-writes and by QEMU: the logs agree; when one of them
// is spoilt, that is seen; and QEMU's log alone is a log like any other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "framework/blocklog/log_reader.h"
#include "framework/recording/recording.h"
#include "tests/support/program.h"

namespace plugpull {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kScenario[] = R"(
name: "twice"
disk { name: "vol" size_mib: 16 host_log: true layer { log_writes {} } }
step { mkfs { disk: "vol" option: "-b 1024" option: "-J size=1" option: "-N 128" } }
step { mount { disk: "vol" at: "/data" } }
step { workload { at: "/data" seed: 11 files { count: 60 size_kib_max: 6 files_max: 12 } } }
step { unmount { at: "/data" } }
check {
  disk: "vol" enumerate { prefix {} } enumerate { lose_one {} } max_states: 600
  oracle: FSCK oracle: CONTENT nested { by: E2FSCK max_recoveries: 1 max_states: 20 }
}
variant { name: "ordered" expect { nothing: true } }
variant {
  name: "nobarrier"
  settings { mount_option: "nobarrier" }
  expect {
    found: METADATA_INCONSISTENT
    found: JOURNAL_REFUSED
    found: DURABILITY_LOST
  }
}
)";
constexpr Millis kRunMax{240'000};

Json OnlyDisk(const Json& run) { return run.at("disks").at(0); }

// The recording with another host's log. The manifest is written anew.
void Replace(const std::string& folder, const std::vector<uint8_t>& host_log) {
  const auto reader = recording::Reader::Open(folder);
  ASSERT_TRUE(reader.ok());
  Recording manifest = reader->manifest();
  const auto log = reader->ReadLog(manifest.disk(0));
  const auto traces = reader->ReadTraces("vol");
  ASSERT_TRUE(log.ok() && traces.ok());
  auto writer = recording::Writer::Start(folder);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->AddCompressed(manifest.disk(0).log_file(), *log).ok());
  for (const auto& trace : *traces) ASSERT_TRUE(writer->AddTrace(trace).ok());
  if (host_log.empty()) {
    manifest.mutable_disk(0)->clear_host_log_file();
    manifest.mutable_disk(0)->set_host_log_missing("it was taken away");
  } else {
    manifest.mutable_disk(0)->set_host_log_bytes(host_log.size());
    ASSERT_TRUE(writer->AddCompressed(manifest.disk(0).host_log_file(), host_log).ok());
  }
  ASSERT_TRUE(writer->Finish(manifest).ok());
}

// The place of a byte of what a write in the last quarter of a log wrote to the file system.
size_t ByteOfALateWrite(const std::vector<uint8_t>& bytes) {
  const auto log = blocklog::ReadLog(bytes, {});
  EXPECT_TRUE(log.ok());
  for (size_t i = log->entries.size() * 3 / 4; i < log->entries.size(); ++i) {
    const blocklog::Entry& entry = log->entries[i];
    if (entry.data.size() >= 1024) return entry.header_at.value + log->sector_bytes + 77;
  }
  ADD_FAILURE() << "no write";
  return 0;
}

class CrossCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    WriteText(folder_ / "s.textproto", kScenario);
    const ProgramEnd end =
        RunPlugpull(folder_, {"run", "s.textproto", "--out", "out", "--json"}, kRunMax);
    ASSERT_EQ(end.status, 0) << end.out << end.err;
    runs_ = Json::parse(end.out);
    ASSERT_EQ(runs_.size(), 2U);
  }

  std::string Recording(const std::string& variant) const {
    return folder_ / ("out/twice/" + variant + "/recording");
  }
  std::vector<uint8_t> HostLog() const {
    const auto reader = recording::Reader::Open(Recording("ordered"));
    EXPECT_TRUE(reader.ok());
    const auto log = reader->ReadHostLog(reader->manifest().disk(0));
    EXPECT_TRUE(log.ok());
    return log.ok() ? *log : std::vector<uint8_t>();
  }
  ProgramEnd Check() const {
    return RunPlugpull(folder_, {"check", Recording("ordered"), "--max-states", "100"});
  }

  TestFolder folder_{"cross-check"};
  Json runs_;
};

TEST_F(CrossCheckTest, LogsOfOneRunAgreeAndSpoiltOnesDoNot) {
  for (const Json& run : runs_) {
    const Json check = OnlyDisk(run).at("cross_check");
    EXPECT_EQ(check.at("contradictions"), 0) << check.dump(1);
    EXPECT_THAT(check.at("verdict_contradiction"), IsEmpty());
    EXPECT_EQ(check.at("writes_found"), check.at("writes"));
    EXPECT_GT(check.at("mark_points"), 30);
    EXPECT_GT(check.at("host_writes"), 0);
    EXPECT_LT(check.at("host_writes"), check.at("writes")) << "QEMU sees merged requests";
    EXPECT_GT(OnlyDisk(run).at("nested").at("enumerated"), 0) << "of the guest's log alone";
  }
  EXPECT_GT(OnlyDisk(runs_[0]).at("cross_check").at("flush_points"), 30);
  EXPECT_THAT(OnlyDisk(runs_[0]).at("cross_check").at("host_found"), IsEmpty());
  EXPECT_EQ(OnlyDisk(runs_[1]).at("cross_check").at("host_found").size(), 3U);

  // QEMU's log, as anybody's.
  const std::vector<uint8_t> log = HostLog();
  ASSERT_FALSE(log.empty());
  WriteText(folder_ / "host.log", {log.begin(), log.end()});
  const ProgramEnd stat = RunPlugpull(folder_, {"log", "stat", "host.log"});
  EXPECT_EQ(stat.status, 0) << stat.err;
  EXPECT_THAT(stat.out, HasSubstr("FUA 0, discards 0, kernel marks 0"));
  const ProgramEnd shown =
      RunPlugpull(folder_, {"log", "show", Recording("ordered"), "--host-log"});
  EXPECT_THAT(shown.out, HasSubstr("mark: base vol"));
  EXPECT_THAT(shown.out, HasSubstr("mark: end vol"));
  const ProgramEnd foreign = RunPlugpull(
      folder_, {"check", "--log", "host.log", "--max-states", "100", "--scan-past-end"});
  EXPECT_EQ(foreign.status, 0) << foreign.out << foreign.err;

  std::vector<uint8_t> spoilt = log;
  spoilt[ByteOfALateWrite(log)] ^= 1;
  ASSERT_NO_FATAL_FAILURE(Replace(Recording("ordered"), spoilt));
  const ProgramEnd differs = Check();
  EXPECT_EQ(differs.status, 3) << differs.out;
  EXPECT_THAT(differs.out, HasSubstr("taken for a fault of plugpull"));
  EXPECT_THAT(differs.out, HasSubstr("--host-log"));

  ASSERT_NO_FATAL_FAILURE(Replace(Recording("ordered"), {log.begin(), log.end() - 4096}));
  const ProgramEnd cut = Check();
  EXPECT_EQ(cut.status, 3) << cut.out;
  EXPECT_THAT(cut.out, HasSubstr("not done: "));

  ASSERT_NO_FATAL_FAILURE(Replace(Recording("ordered"), {}));
  const ProgramEnd missing = Check();
  EXPECT_EQ(missing.status, 3) << missing.out;
  EXPECT_THAT(missing.out, HasSubstr("it was taken away"));
}

}  // namespace
}  // namespace plugpull
