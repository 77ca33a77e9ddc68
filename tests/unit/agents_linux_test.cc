// SPDX-License-Identifier: Apache-2.0
// The agents' looks at disks, on image files with real damage, and what they do to files and
// folders. Mounting is tested in a guest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "framework/ext4/damage.h"
#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "tests/support/program.h"
#include "vm/guest/agents/linux_disk.h"
#include "vm/guest/agents/linux_system.h"
#include "vm/guest/agents/state.h"

namespace plugpull::agents {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kImageBytes = 16u << 20;

class LinuxDiskTest : public testing::Test {
 protected:
  LinuxDiskTest() { std::ofstream(image_, std::ios::binary) << std::string(kImageBytes, '\0'); }

  void MakeExt4() {
    const auto mke2fs = os::FindProgram("mke2fs", "e2fsprogs");
    ASSERT_TRUE(mke2fs.ok());
    os::SubprocessOptions options;
    options.argv = {*mke2fs, "-q", "-F", "-t", "ext4", "-b", "1024", "-E", "nodiscard", image_};
    const auto made = os::RunProgram(std::move(options), Millis(60'000));
    ASSERT_TRUE(made.ok() && made->exit.code == 0);
  }

  void DoDamage(Damage damage) {
    auto bytes = os::ReadFile(image_, Bytes(kImageBytes));
    ASSERT_TRUE(bytes.ok());
    ext4::MemoryTarget target({reinterpret_cast<uint8_t*>(bytes->data()), bytes->size()});
    CorruptStep step;
    step.set_damage(damage);
    const auto done = ext4::ApplyDamage(step, target);
    ASSERT_TRUE(done.ok()) << done.error().ToString();
    std::ofstream(image_, std::ios::binary) << *bytes;
  }

  Scan::Kind ScanKind() { return ScanPath(image_, kImageBytes, kImageBytes).kind; }

  TestFolder folder_{"agents-linux"};
  std::string image_ = folder_ / "image";
};

TEST_F(LinuxDiskTest, ABlankDisk) {
  EXPECT_EQ(ProbePath(image_).kind, Probe::Kind::kNothing);
  const Scan scan = ScanPath(image_, kImageBytes, kImageBytes);
  EXPECT_EQ(scan.kind, Scan::Kind::kBlank);
  EXPECT_EQ(scan.at_bytes, kImageBytes);
  EXPECT_EQ(ScanPath(image_, kImageBytes, kImageBytes - 1).kind, Scan::Kind::kNotScanned);
  EXPECT_EQ(ScanPath(image_, 0, kImageBytes).kind, Scan::Kind::kNotScanned);
  // What is not there was not read.
  EXPECT_EQ(ScanPath(image_, kImageBytes + 4096, 2 * kImageBytes).kind, Scan::Kind::kUnreadable);
  EXPECT_EQ(ScanPath(folder_ / "none", kImageBytes, kImageBytes).kind, Scan::Kind::kNotScanned);
}

TEST_F(LinuxDiskTest, OneByteAnywhereIsNotBlank) {
  for (const uint64_t at : {uint64_t{0}, uint64_t{511}, kImageBytes / 2 + 1, kImageBytes - 1}) {
    std::fstream file(image_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at)).put(1).flush();
    const Scan scan = ScanPath(image_, kImageBytes, kImageBytes);
    EXPECT_EQ(scan.kind, Scan::Kind::kNotBlank);
    EXPECT_EQ(scan.at_bytes, at);
    file.seekp(static_cast<std::streamoff>(at)).put(0);
  }
}

TEST_F(LinuxDiskTest, NoDamageMakesAFileSystemBlank) {
  const struct {
    Damage damage;
    Probe::Kind kind;
    const char* type;
  } cases[] = {
      {MAGIC_ZEROED, Probe::Kind::kNothing, ""},
      {FIRST_1K_ZEROED, Probe::Kind::kFound, "ext4"},
      {FIRST_2K_ZEROED, Probe::Kind::kNothing, ""},
      {FIRST_4K_ZEROED, Probe::Kind::kNothing, ""},
      {FIRST_1M_ZEROED, Probe::Kind::kNothing, ""},
      {SIGNATURE_GPT, Probe::Kind::kFound, ""},
      {SIGNATURE_MBR, Probe::Kind::kFound, "ext4"},
      {SIGNATURE_XFS, Probe::Kind::kAmbivalent, ""},
      {SIGNATURE_LUKS, Probe::Kind::kFound, "crypto_LUKS"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(Damage_Name(c.damage));
    MakeExt4();
    EXPECT_EQ(ProbePath(image_).type, "ext4");
    if (c.damage == FIRST_1K_ZEROED) {  // it is zero already
      std::fstream(image_, std::ios::binary | std::ios::in | std::ios::out).put(1);
    }
    DoDamage(c.damage);
    const Probe probe = ProbePath(image_);
    EXPECT_EQ(probe.kind, c.kind);
    EXPECT_EQ(probe.type, c.type);
    EXPECT_EQ(ScanKind(), Scan::Kind::kNotBlank);
  }
  EXPECT_EQ(ProbePath(folder_ / "none").kind, Probe::Kind::kError);
  EXPECT_EQ(ProbePath(folder_ / "none").error_number, ENOENT);
}

TEST_F(LinuxDiskTest, DisksAreFoundBySerialAsWhatIsOnTop) {
  const auto add = [&](const std::string& name, const std::string& serial, const std::string& dev) {
    ASSERT_TRUE(os::MakeFolders(folder_ / ("sys/" + name + "/holders")).ok());
    if (!serial.empty()) std::ofstream(folder_ / ("sys/" + name + "/serial")) << serial << "\n";
    std::ofstream(folder_ / ("sys/" + name + "/dev")) << dev << "\n";
    std::ofstream(folder_ / ("sys/" + name + "/size")) << "2048\n";
  };
  add("vda", "", "254:0");
  add("vdb", "plain", "254:16");
  add("vdc", "stacked", "254:32");
  add("vdd", "forked", "254:48");
  add("dm-0", "", "253:0");
  add("dm-1", "", "253:1");
  ASSERT_TRUE(os::MakeFolders(folder_ / "sys/vdc/holders/dm-0").ok());
  ASSERT_TRUE(os::MakeFolders(folder_ / "sys/dm-0/holders/dm-1").ok());
  ASSERT_TRUE(os::MakeFolders(folder_ / "sys/vdd/holders/dm-0").ok());
  ASSERT_TRUE(os::MakeFolders(folder_ / "sys/vdd/holders/dm-1").ok());
  ASSERT_TRUE(os::MakeFolders(folder_ / "sys/dm-1/dm").ok());
  std::ofstream(folder_ / "sys/dm-1/dm/name") << "top\n";
  const auto disks = ListDisks(folder_ / "sys");
  ASSERT_TRUE(disks.ok());
  ASSERT_EQ(disks->size(), 3u);
  EXPECT_EQ((*disks)[0].serial, "dm:top");
  EXPECT_EQ((*disks)[0].path, "/dev/mapper/top");
  EXPECT_EQ((*disks)[1].serial, "plain");
  EXPECT_EQ((*disks)[1].path, "/dev/vdb");
  EXPECT_EQ((*disks)[1].device, (DeviceNumber{254, 16}));
  EXPECT_EQ((*disks)[1].size_bytes, 1u << 20);
  EXPECT_EQ((*disks)[2].serial, "stacked");
  EXPECT_EQ((*disks)[2].path, "/dev/mapper/top");
  EXPECT_EQ((*disks)[2].device, (DeviceNumber{253, 1}));
  EXPECT_FALSE(ListDisks(folder_ / "none").ok());
}

TEST_F(LinuxDiskTest, AFolderIsRemovedWithAllThatIsInIt) {
  const std::string work = folder_ / "work";
  ASSERT_TRUE(os::MakeFolders(work + "/a/b/c").ok());
  std::ofstream(work + "/a/file") << "x";
  fs::create_symlink(folder_ / "image", work + "/a/link");
  fs::create_directory_symlink(folder_.path(), work + "/a/folder_link");
  std::vector<std::string> left;
  EXPECT_EQ(RemoveTreeAt(work, false, left), 0);
  EXPECT_FALSE(os::Exists(work));
  EXPECT_TRUE(os::Exists(image_));
  EXPECT_THAT(left, IsEmpty());
  EXPECT_EQ(RemoveTreeAt(work, false, left), 0);
  // A link to a folder is no folder.
  fs::create_directory_symlink(folder_.path(), work);
  EXPECT_NE(RemoveTreeAt(work, false, left), 0);
  EXPECT_TRUE(os::Exists(image_));
}

TEST_F(LinuxDiskTest, ProgramsEndOrAreEnded) {
  EXPECT_EQ(RunToEnd({"/bin/sh", "-c", "exit 3"}, Millis(20'000)), 3);
  EXPECT_EQ(RunToEnd({"/bin/sh", "-c", "kill -TERM $$"}, Millis(20'000)), 128 + SIGTERM);
  EXPECT_EQ(RunToEnd({"/bin/sh", "-c", "exec sleep 100"}, Millis(50)), 128 + SIGKILL);
  EXPECT_NE(RunToEnd({"/no/such/program"}, Millis(20'000)), 0);
}

TEST_F(LinuxDiskTest, TheStateIsReplacedAndLocked) {
  LinuxSystem one("one", folder_ / "state", folder_ / "alerts");
  LinuxSystem two("two", folder_ / "state", "");
  const auto none = one.ReadState();
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  ASSERT_TRUE(one.WriteState("first").ok());
  ASSERT_TRUE(one.WriteState("second").ok());
  EXPECT_EQ(two.ReadState()->value(), "second");
  {
    const auto lock = one.TryLockState();
    ASSERT_TRUE(lock.ok());
    ASSERT_NE(*lock, nullptr);
    const auto refused = two.TryLockState();
    ASSERT_TRUE(refused.ok());
    EXPECT_EQ(*refused, nullptr);
  }
  EXPECT_NE(*two.TryLockState(), nullptr);
  EXPECT_THAT(*os::ListFolder(folder_ / "state"), ElementsAre("lock", "state"));
  one.Alert("ALERT a");
  one.Alert("ALERT b");
  EXPECT_EQ(*os::ReadFile(folder_ / "alerts", Mebibytes(1)), "ALERT a\nALERT b\n");
  LinuxSystem nowhere("nowhere", "/proc/none", "");
  EXPECT_FALSE(nowhere.WriteState("x").ok());
  EXPECT_FALSE(nowhere.TryLockState().ok());
}

TEST_F(LinuxDiskTest, TheTargetIsAFolderThatOnlyRootWritesTo) {
  LinuxSystem system("agent", folder_ / "state", "");
  const std::string target = folder_ / "a/b";
  EXPECT_EQ(system.PrepareTarget(target), 0);
  ASSERT_EQ(::chmod(target.c_str(), 0777), 0);
  EXPECT_EQ(system.PrepareTarget(target), 0);
  struct stat status {};
  ASSERT_EQ(::stat(target.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
  fs::create_directory_symlink(target, folder_ / "link");
  EXPECT_EQ(system.PrepareTarget(folder_ / "link"), ELOOP);
  EXPECT_EQ(system.PrepareTarget(image_), ENOTDIR);
  // Nothing is written to a folder on which nothing is mounted.
  EXPECT_EQ(system.WriteProbe(target, {254, 16}), ESTALE);
  EXPECT_THAT(*os::ListFolder(target), IsEmpty());
  EXPECT_NE(system.Unmount(target, false), 0);
  const auto mounts = system.Mounts();
  ASSERT_TRUE(mounts.ok()) << mounts.error().ToString();
  EXPECT_NE(MountedAt(*mounts, "/proc"), nullptr);
}

}  // namespace
}  // namespace plugpull::agents
