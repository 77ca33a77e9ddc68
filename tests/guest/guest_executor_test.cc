// SPDX-License-Identifier: Apache-2.0
// The guest's executor in a real guest, judged by the block log that it leaves on the host:
// nothing that the guest says of itself is believed where the log can be asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "framework/blocklog/format.h"
#include "framework/blocklog/log_reader.h"
#include "framework/blocklog/mark.h"
#include "framework/os/fd.h"
#include "framework/os/file.h"
#include "framework/workload/content.h"
#include "vm/initramfs/initramfs.h"
#include "vm/kernels/kernels.h"
#include "vm/machine.h"
#include "vm/qemu/qemu_machine.h"

namespace plugpull {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kDiskSectors = 32 * 2048;
constexpr uint64_t kStripSectors = 2048;
constexpr Bytes kLogBytes = Mebibytes(512);
constexpr Millis kCallMax{180'000};
constexpr Millis kBootMax{180'000};

class GuestExecutorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto kernel = vm::ResolveKernel(os::GetEnv("PLUGPULL_TEST_KERNEL", "debian:6.1"));
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    vm::InitramfsOptions initramfs;
    initramfs.kernel = *kernel;
    initramfs.guest_folder = std::string(PLUGPULL_BINARY_DIR) + "/bin";
    initramfs.modules = vm::DefaultModules();
    const auto archive = vm::BuildInitramfs(initramfs);
    ASSERT_TRUE(archive.ok()) << archive.error().ToString();

    auto data =
        os::MakeScratchFile(::testing::TempDir(), ToBytes(Sectors(kDiskSectors + kStripSectors)));
    auto log = os::MakeScratchFile(::testing::TempDir(), kLogBytes);
    ASSERT_TRUE(data.ok() && log.ok());
    data_ = std::move(*data);
    log_ = std::move(*log);

    vm::MachineOptions options;
    options.kernel_image = kernel->image;
    options.initramfs = *archive;
    options.accelerator = "tcg";
    options.disks = {{"pvc-0001", data_.get()}, {"log-0001", log_.get()}};
    auto machine = vm::StartQemu(options);
    ASSERT_TRUE(machine.ok()) << machine.error().ToString();
    machine_ = std::move(*machine);
    const auto hello = machine_->WaitForHello(os::Deadline::After(kBootMax));
    ASSERT_TRUE(hello.ok()) << hello.error().ToString();
    EXPECT_EQ(hello->protocol_version(), 1u);
    EXPECT_EQ(hello->kernel_release(), kernel->release);
  }

  // The answer, whatever it says; an empty one when the guest is gone.
  Answer Ask(const GuestRequest& request) {
    const auto answer = vm::Call(*machine_, request, kCallMax, [this](const Progress& progress) {
      results_.insert(results_.end(), progress.result().begin(), progress.result().end());
    });
    EXPECT_TRUE(answer.ok()) << answer.error().ToString();
    return answer.ok() ? *answer : Answer();
  }
  Answer Do(const GuestRequest& request) {
    Answer answer = Ask(request);
    EXPECT_FALSE(answer.has_error())
        << vm::RequestName(request) << ": " << answer.error().message();
    return answer;
  }

  Answer SetUpLayers(bool drop_barriers) {
    GuestRequest request;
    auto& disk = *request.mutable_set_up_disk();
    disk.set_disk("vol");
    disk.set_data_serial("pvc-0001");
    disk.set_log_serial("log-0001");
    disk.set_size_sectors(kDiskSectors);
    disk.set_strip_sectors(kStripSectors);
    disk.add_layer()->set_kind(GuestLayer::LOG_WRITES);
    if (drop_barriers) disk.add_layer()->set_kind(GuestLayer::DROP_BARRIERS);
    return Do(request);
  }
  Answer Run(const std::vector<std::string>& argv, uint32_t timeout_ms = 120'000) {
    GuestRequest request;
    auto& program = *request.mutable_run_program();
    for (const auto& word : argv) program.add_argv(word);
    program.set_timeout_ms(timeout_ms);
    program.set_mark_disk("vol");
    return Do(request);
  }
  void Mkfs(const std::string& device) {
    const Answer made = Run({"mkfs.ext4", "-q", "-F", "-b", "1024", "-J", "size=4", "-E",
                             "nodiscard,lazy_itable_init=0,lazy_journal_init=0", device});
    EXPECT_EQ(made.exit_status(), 0) << made.output();
  }
  Answer Mount(const std::vector<std::string>& options) {
    GuestRequest request;
    request.mutable_mount()->set_disk("vol");
    request.mutable_mount()->set_at("/data");
    request.mutable_mount()->set_type("ext4");
    for (const auto& option : options) request.mutable_mount()->add_option(option);
    return Ask(request);
  }
  Answer Unmount() {
    GuestRequest request;
    request.mutable_unmount()->set_at("/data");
    return Ask(request);
  }
  void Mark(const std::string& kind, const std::string& text = "") {
    GuestRequest request;
    request.mutable_write_mark()->set_disk("vol");
    request.mutable_write_mark()->set_kind(kind);
    request.mutable_write_mark()->set_text(text);
    Do(request);
  }
  void Drain() {
    GuestRequest request;
    request.mutable_drain()->set_disk("vol");
    Do(request);
  }
  DiskStatus Query() {
    GuestRequest request;
    request.mutable_query_disk()->set_disk("vol");
    return Do(request).disk_status();
  }
  Answer TearDownDisk() {
    GuestRequest request;
    request.mutable_tear_down_disk()->set_disk("vol");
    return Ask(request);
  }
  void PowerOff() {
    GuestRequest request;
    request.mutable_power_off();
    Do(request);
    const auto ended = machine_->WaitForEnd(os::Deadline::After(kCallMax));
    EXPECT_TRUE(ended.ok()) << ended.error().ToString();
  }

  // Six files, each written and fsynced, and some of everything else: 24 operations.
  GuestRequest Workload() {
    GuestRequest request;
    auto& workload = *request.mutable_run_workload();
    workload.set_at("/data");
    workload.set_mark_disk("vol");
    workload.set_workload(2);
    const auto add = [&workload](Operation::Kind kind, const std::string& path) -> Operation& {
      Operation& operation = *workload.add_operation();
      operation.set_kind(kind);
      operation.set_path(path);
      return operation;
    };
    add(Operation::MKDIR, "d");
    for (uint64_t file = 1; file <= 6; ++file) {
      const std::string path = "d/f" + std::to_string(file);
      add(Operation::CREATE, path).set_file(file);
      auto& write = add(Operation::WRITE, path);
      write.set_file(file);
      write.set_length(3000 * file);
      add(Operation::FSYNC, path);
    }
    add(Operation::RENAME, "d/f1").set_path2("d/g1");
    add(Operation::FSYNC, "d");
    add(Operation::FSYNC, "d/f1");  // is not there any more
    auto& o_sync = add(Operation::WRITE, "d/f2");
    o_sync.set_file(2);
    o_sync.set_offset(2048);
    o_sync.set_length(4096);
    o_sync.set_o_sync(true);
    add(Operation::SYNC, "");
    return request;
  }

  void ReadBlockLog(bool scan_past_end) {
    auto mapping = os::Mapping::Map(log_.get(), kLogBytes, os::Mapping::Mode::kReadOnly);
    ASSERT_TRUE(mapping.ok());
    mapping_ = std::move(*mapping);
    blocklog::ReadOptions options;
    options.scan_past_end = scan_past_end;
    auto read = blocklog::ReadLog(mapping_.bytes(), options);
    ASSERT_TRUE(read.ok()) << read.error().ToString();
    block_log_ = std::move(*read);
    for (const auto& entry : block_log_.entries) {
      auto mark = blocklog::DecodeMark(entry.data);
      const bool in_strip = entry.offset.value >= kDiskSectors * kSectorBytes;
      EXPECT_EQ(mark.has_value(), in_strip && !entry.discard() && entry.length.value > 0);
      if (mark) marks_.push_back({entry.index, mark->kind, mark->text});
    }
  }
  struct Marked {
    uint64_t entry;
    std::string kind;
    std::string text;
  };
  std::vector<std::string> MarksOf(const std::string& kind) const {
    std::vector<std::string> texts;
    for (const auto& mark : marks_) {
      if (mark.kind == kind) texts.push_back(mark.text);
    }
    return texts;
  }
  // Entry of the only such mark.
  uint64_t EntryOf(const std::string& kind, const std::string& text) const {
    for (const auto& mark : marks_) {
      if (mark.kind == kind && mark.text == text) return mark.entry;
    }
    ADD_FAILURE() << "no mark " << kind << " " << text;
    return 0;
  }

  // The last write of each acknowledged file was logged before the mark that acknowledges it.
  void ExpectContentBeforeMarks(const RunWorkload& workload) const {
    for (int i = 2; i < workload.operation_size(); ++i) {
      const Operation& sync = workload.operation(i);
      const Operation& write = workload.operation(i - 1);
      if (sync.kind() != Operation::FSYNC || write.kind() != Operation::WRITE) continue;
      const uint64_t mark = EntryOf("ack", "2." + std::to_string(i));
      std::vector<uint8_t> cell(workload::kCellBytes);
      workload::FillContent(write.file(), static_cast<uint64_t>(i), 0, cell);
      const auto holds = [&](const blocklog::Entry& entry) {
        return std::search(entry.data.begin(), entry.data.end(), cell.begin(), cell.end()) !=
               entry.data.end();
      };
      const auto found = std::find_if(block_log_.entries.begin(), block_log_.entries.end(), holds);
      ASSERT_NE(found, block_log_.entries.end()) << write.path();
      EXPECT_LT(found->index, mark) << write.path();
    }
  }

  // Replaying the whole log over zeroes gives the disk as the guest left it.
  void ExpectReplayGivesTheDisk() const {
    std::vector<uint8_t> replayed(kDiskSectors * kSectorBytes);
    for (const auto& entry : block_log_.entries) {
      if (entry.is_mark() || entry.offset.value >= replayed.size()) continue;
      EXPECT_FALSE(entry.discard());
      ASSERT_LE(entry.offset.value + entry.data.size(), replayed.size());
      std::copy(entry.data.begin(), entry.data.end(), replayed.begin() + entry.offset.value);
    }
    std::vector<uint8_t> disk(replayed.size());
    ASSERT_TRUE(os::PreadAll(data_.get(), disk, Bytes(0)).ok());
    EXPECT_TRUE(replayed == disk);
  }

  // Flushes and forced writes that are not the flush behind a drain mark.
  std::vector<uint64_t> OwnBarriers() const {
    std::vector<uint64_t> entries;
    bool draining = false;
    for (const auto& entry : block_log_.entries) {
      const auto mark = blocklog::DecodeMark(entry.data);
      if (entry.fua() || (entry.flush() && !draining)) entries.push_back(entry.index);
      if (entry.flush()) draining = false;
      if (mark) draining = mark->kind == "drain";
    }
    return entries;
  }

  os::Fd data_;
  os::Fd log_;
  std::unique_ptr<vm::Machine> machine_;
  std::vector<OperationResult> results_;
  os::Mapping mapping_;
  blocklog::BlockLog block_log_;
  std::vector<Marked> marks_;
};

const std::vector<std::string> kExpectedAcks = {"2.3",  "2.6",  "2.9",  "2.12", "2.15",
                                                "2.18", "2.20", "2.22", "2.23"};

TEST_F(GuestExecutorTest, AWorkloadOnAnHonestDiskIsRecordedInOrder) {
  const Answer disk = SetUpLayers(false);
  EXPECT_EQ(disk.device(), "/dev/mapper/pp-vol-fs");
  EXPECT_THAT(disk.table(), ElementsAre(HasSubstr("pp-vol-log: 0 67584 log-writes "),
                                        HasSubstr("pp-vol-mark: 0 2048 linear "),
                                        HasSubstr("pp-vol-fs: 0 65536 linear ")));
  Mkfs(disk.device());
  Mark("base");
  Drain();
  EXPECT_FALSE(Mount({"noatime,lazytime"}).has_error());
  const auto workload = Workload();
  Do(workload);
  ASSERT_EQ(results_.size(), 24u);
  for (const auto& result : results_) {
    EXPECT_EQ(result.error(), result.index() == 21 ? ENOENT : 0) << result.index();
  }
  EXPECT_THAT(Run({"cat", "/proc/mounts"}).output(),
              HasSubstr("/dev/mapper/pp-vol-fs /data ext4 rw,lazytime,noatime"));
  const Answer script = Run({"/bin/sh", "-c",
                             "plugpull-mark start put; echo value > /data/key; sync /data/key; "
                             "plugpull-mark done put; echo $PATH"});
  EXPECT_EQ(script.exit_status(), 0) << script.output();
  EXPECT_THAT(script.output(), HasSubstr("/usr/sbin"));
  EXPECT_TRUE(TearDownDisk().error().infrastructure());  // it is mounted
  EXPECT_FALSE(Unmount().has_error());
  EXPECT_EQ(Unmount().error().error_number(), EINVAL);
  Drain();
  Mark("end");
  const DiskStatus status = Query();
  EXPECT_TRUE(status.has_log());
  EXPECT_FALSE(status.logging_disabled());
  EXPECT_GT(status.logged_entries(), 50u);
  EXPECT_GT(status.written_sectors(), 1000u);
  EXPECT_FALSE(TearDownDisk().has_error());
  PowerOff();

  ReadBlockLog(false);
  EXPECT_TRUE(block_log_.torn_down);
  EXPECT_FALSE(block_log_.dropped.has_value());
  EXPECT_EQ(block_log_.counted_entries, block_log_.entries.size());
  EXPECT_THAT(MarksOf("ack"), ::testing::ElementsAreArray(kExpectedAcks));
  EXPECT_THAT(MarksOf("base"), ElementsAre(""));
  EXPECT_THAT(MarksOf("end"), ElementsAre(""));
  EXPECT_LT(EntryOf("start", "put"), EntryOf("done", "put"));
  EXPECT_LT(EntryOf("ack", "2.23"), EntryOf("start", "put"));
  ExpectContentBeforeMarks(workload.run_workload());
  ExpectReplayGivesTheDisk();
  // Each fsync of new data is a journal commit: a flush of its own between its mark and the last.
  const auto barriers = OwnBarriers();
  for (size_t i = 1; i < 6; ++i) {
    const uint64_t from = EntryOf("ack", kExpectedAcks[i - 1]);
    const uint64_t to = EntryOf("ack", kExpectedAcks[i]);
    EXPECT_TRUE(std::any_of(barriers.begin(), barriers.end(), [&](uint64_t entry) {
      return entry > from && entry < to;
    })) << kExpectedAcks[i];
  }
}

TEST_F(GuestExecutorTest, UnderDropBarriersOnlyDrainsFlush) {
  const Answer disk = SetUpLayers(true);
  EXPECT_EQ(disk.device(), "/dev/mapper/pp-vol-layer1");
  Mkfs(disk.device());
  Mark("base");
  Drain();
  const Answer refused = Mount({"data=nonsense"});
  EXPECT_EQ(refused.error().error_number(), EINVAL);
  EXPECT_FALSE(refused.error().infrastructure());
  EXPECT_FALSE(Mount({"data=writeback"}).has_error());
  auto workload = Workload();
  workload.mutable_run_workload()->set_drain_every_bytes(16 * 1024);
  Do(workload);
  EXPECT_EQ(results_.size(), 24u);
  const Answer endless = Run({"/bin/sh", "-c", "echo begun; sleep 600"}, 1'500);
  EXPECT_TRUE(endless.timed_out());
  EXPECT_EQ(endless.output(), "begun\n");
  EXPECT_FALSE(Unmount().has_error());
  Drain();
  Mark("end");
  EXPECT_FALSE(TearDownDisk().has_error());
  PowerOff();

  ReadBlockLog(false);
  EXPECT_TRUE(block_log_.torn_down);
  EXPECT_THAT(OwnBarriers(), ElementsAre());
  EXPECT_GE(MarksOf("drain").size(), 4u);  // two of ours, the rest between operations
  EXPECT_THAT(MarksOf("ack"), ::testing::ElementsAreArray(kExpectedAcks));
  ExpectContentBeforeMarks(workload.run_workload());
  ExpectReplayGivesTheDisk();
  // The marks lie among the writes, not in a heap at one end.
  for (size_t i = 1; i < 6; ++i) {
    EXPECT_GT(EntryOf("ack", kExpectedAcks[i]), EntryOf("ack", kExpectedAcks[i - 1]) + 3);
  }
}

TEST_F(GuestExecutorTest, AfterADrainAKilledGuestLeavesAWholeLog) {
  const Answer disk = SetUpLayers(true);
  Mkfs(disk.device());
  Mark("base");
  EXPECT_FALSE(Mount({}).has_error());
  const auto workload = Workload();
  Do(workload);
  Drain();
  machine_.reset();

  ReadBlockLog(true);
  EXPECT_FALSE(block_log_.torn_down);
  EXPECT_THAT(MarksOf("ack"), ::testing::ElementsAreArray(kExpectedAcks));
  EXPECT_THAT(MarksOf("drain"), ElementsAre(""));
  ASSERT_FALSE(block_log_.entries.empty());
  EXPECT_THAT(block_log_.entries.back().mark, ::testing::StartsWith("plugpull-drained-"));
  EXPECT_EQ(block_log_.counted_entries, block_log_.entries.size());
  ExpectContentBeforeMarks(workload.run_workload());
  EXPECT_THAT(OwnBarriers(), ElementsAre());
}

TEST_F(GuestExecutorTest, ALogThatIsFullIsAnErrorAndSeenInTheStatus) {
  GuestRequest request;
  auto& disk = *request.mutable_set_up_disk();
  disk.set_disk("vol");
  disk.set_data_serial("log-0001");  // the wrong way round: the small disk is the log
  disk.set_log_serial("pvc-0001");
  disk.set_size_sectors(kLogBytes.value / kSectorBytes - kStripSectors);
  disk.set_strip_sectors(kStripSectors);
  disk.add_layer()->set_kind(GuestLayer::LOG_WRITES);
  const Answer answer = Do(request);
  // More than the log holds, and few enough to wait in the guest's memory.
  EXPECT_EQ(
      Run({"dd", "if=/dev/zero", "of=" + answer.device(), "bs=1M", "count=48", "oflag=direct"})
          .exit_status(),
      0);
  const Answer drained = [&] {
    GuestRequest drain;
    drain.mutable_drain()->set_disk("vol");
    return Ask(drain);
  }();
  EXPECT_TRUE(drained.error().infrastructure());
  EXPECT_THAT(drained.error().message(), HasSubstr("larger log_size_mib"));
  EXPECT_TRUE(Query().logging_disabled());
}

}  // namespace
}  // namespace plugpull
