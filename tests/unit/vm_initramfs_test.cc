// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>

#include "framework/os/file.h"
#include "vm/initramfs/cpio.h"
#include "vm/initramfs/initramfs.h"
#include "vm/initramfs/modules.h"
#include "vm/initramfs/programs.h"

namespace plugpull::vm {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Entry {
  uint32_t mode = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  std::string content;
};

// Reads an archive as the format's description has it, independently of the writer.
std::map<std::string, Entry> Unpack(const std::string& archive, std::vector<std::string>* order) {
  std::map<std::string, Entry> entries;
  size_t at = 0;
  for (;;) {
    EXPECT_EQ(archive.substr(at, 6), "070701");
    const auto field = [&](int n) {
      return static_cast<uint32_t>(std::stoul(archive.substr(at + 6 + 8 * n, 8), nullptr, 16));
    };
    const uint32_t name_size = field(11);
    const std::string name = archive.substr(at + 110, name_size - 1);
    EXPECT_EQ(archive.at(at + 110 + name_size - 1), '\0');
    const size_t data = (at + 110 + name_size + 3) / 4 * 4;
    if (name == "TRAILER!!!") break;
    entries[name] = {field(1), field(9), field(10), archive.substr(data, field(6))};
    if (order != nullptr) order->push_back(name);
    at = (data + field(6) + 3) / 4 * 4;
  }
  return entries;
}

TEST(Cpio, EntriesComeBack) {
  CpioWriter writer;
  writer.AddFile("/usr/bin/tool", "abcde", 0755);
  writer.AddFile("/usr/empty", "", 0600);
  writer.AddSymlink("/bin", "usr/bin");
  writer.AddCharDevice("/dev/console", 5, 1, 0600);
  writer.AddFolder("/root", 0700);
  writer.AddFolder("/usr");  // there already
  const auto archive = writer.Finish();
  ASSERT_TRUE(archive.ok());
  EXPECT_EQ(archive->size() % 512, 0u);
  std::vector<std::string> order;
  const auto entries = Unpack(*archive, &order);
  EXPECT_THAT(order, ElementsAre("usr", "usr/bin", "usr/bin/tool", "usr/empty", "bin", "dev",
                                 "dev/console", "root"));
  EXPECT_EQ(entries.at("usr/bin/tool").mode, 0100755u);
  EXPECT_EQ(entries.at("usr/bin/tool").content, "abcde");
  EXPECT_EQ(entries.at("bin").mode, 0120777u);
  EXPECT_EQ(entries.at("bin").content, "usr/bin");
  EXPECT_EQ(entries.at("dev/console").mode, 0020600u);
  EXPECT_EQ(entries.at("dev/console").major, 5u);
  EXPECT_EQ(entries.at("dev/console").minor, 1u);
  EXPECT_EQ(entries.at("root").mode, 0040700u);
}

TEST(Cpio, WrongPathsAreInternalErrors) {
  for (const char* path : {"", "/", "relative", "/folder/"}) {
    CpioWriter writer;
    writer.AddFile(path, "x", 0644);
    EXPECT_FALSE(writer.Finish().ok()) << path;
  }
  CpioWriter twice;
  twice.AddFile("/a", "x", 0644);
  twice.AddFile("/a", "y", 0644);
  EXPECT_FALSE(twice.Finish().ok());
}

constexpr char kModulesDep[] =
    "kernel/drivers/md/dm-mod.ko:\n"
    "kernel/drivers/md/dm-bufio.ko.xz: kernel/drivers/md/dm-mod.ko\n"
    "kernel/drivers/md/dm-snapshot.ko: kernel/drivers/md/dm-bufio.ko.xz "
    "kernel/drivers/md/dm-mod.ko\n"
    "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\n"
    "kernel/fs/jbd2/jbd2.ko:\n";

TEST(Modules, InInsertionOrder) {
  const auto index = ParseModuleIndex(kModulesDep, "kernel/fs/ext4/ext4.ko\n");
  ASSERT_TRUE(index.ok());
  const auto order =
      ResolveModules(*index, {"dm_snapshot", "dm-mod", "ext4", "no-such-module", "jbd2"});
  ASSERT_TRUE(order.ok());
  EXPECT_THAT(*order, ElementsAre("kernel/drivers/md/dm-mod.ko", "kernel/drivers/md/dm-bufio.ko.xz",
                                  "kernel/drivers/md/dm-snapshot.ko", "kernel/fs/jbd2/jbd2.ko"));
}

TEST(Modules, Names) {
  EXPECT_EQ(ModuleName("kernel/drivers/md/dm-log-writes.ko.xz"), "dm_log_writes");
  EXPECT_EQ(ModuleName("virtio_blk"), "virtio_blk");
}

TEST(Modules, BrokenListsAreErrors) {
  EXPECT_FALSE(ParseModuleIndex("no colon\n", "").ok());
  EXPECT_FALSE(ParseModuleIndex(": a\n", "").ok());
  const auto circle = ParseModuleIndex("a.ko: b.ko\nb.ko: a.ko\n", "");
  ASSERT_TRUE(circle.ok());
  EXPECT_FALSE(ResolveModules(*circle, {"a"}).ok());
  const auto missing = ParseModuleIndex("a.ko: b.ko\n", "");
  ASSERT_TRUE(missing.ok());
  EXPECT_FALSE(ResolveModules(*missing, {"a"}).ok());
}

TEST(Programs, InterpretersOfFiles) {
  EXPECT_EQ(*InterpreterOf("#! /usr/bin/env python3\nx"), "/usr/bin/env");
  EXPECT_EQ(*InterpreterOf("#!/bin/sh"), "/bin/sh");
  EXPECT_EQ(*InterpreterOf("#!\n/bin/sh"), "");
  EXPECT_EQ(*InterpreterOf("text"), "");
  EXPECT_EQ(*InterpreterOf(""), "");
  EXPECT_FALSE(InterpreterOf("\177ELF").ok());
  const auto self = os::ReadFile("/proc/self/exe", Bytes(1 << 30));
  ASSERT_TRUE(self.ok());
  EXPECT_EQ(*InterpreterOf(*self), "/lib64/ld-linux-x86-64.so.2");
  // Cut or spoilt anywhere in the headers: an error or a value, never a crash.
  const std::string head = self->substr(0, 4096);
  for (size_t size = 0; size < 1024; ++size) (void)InterpreterOf(head.substr(0, size));
  for (size_t at = 4; at < 512; ++at) {
    std::string spoilt = head;
    spoilt[at] = static_cast<char>(0xff);
    (void)InterpreterOf(spoilt);
  }
}

TEST(Programs, LoaderList) {
  const auto paths = ParseLoaderList(
      "\tlinux-vdso.so.1 (0x00007fff)\n"
      "\tlibtinfo.so.6 => /lib/x86_64-linux-gnu/libtinfo.so.6 (0x00007f)\n"
      "\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n");
  ASSERT_TRUE(paths.ok());
  EXPECT_THAT(*paths,
              ElementsAre("/lib/x86_64-linux-gnu/libtinfo.so.6", "/lib64/ld-linux-x86-64.so.2"));
  EXPECT_THAT(*ParseLoaderList("\tstatically linked\n"), IsEmpty());
  const auto missing = ParseLoaderList("\tliba.so => not found\n\tlibb.so => not found\n");
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr("liba.so, libb.so"));
}

TEST(Programs, WhatAShellNeeds) {
  const auto shell = LocateProgram("sh");
  ASSERT_TRUE(shell.ok());
  const auto files = RequiredFiles(*shell);
  ASSERT_TRUE(files.ok()) << files.error().ToString();
  EXPECT_THAT(*files, Contains("/lib64/ld-linux-x86-64.so.2"));
  EXPECT_THAT(*files, Contains(HasSubstr("libc.so.6")));
  EXPECT_EQ(LocateProgram("no-such-program-anywhere").error().code, ErrorCode::kUser);
  EXPECT_EQ(LocateProgram("a/b").error().code, ErrorCode::kUser);
}

class BuildTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "plugpull-initramfs-" + std::to_string(::getpid());
    (void)os::RemoveAll(folder_);
    ::setenv("PLUGPULL_CACHE", (folder_ + "/cache").c_str(), 1);
    Write("guest/plugpull-guest", "init");
    Write("guest/plugpull-mark", "mark");
    Write("modules/modules.dep", "kernel/dm-mod.ko:\nkernel/dm-flakey.ko: kernel/dm-mod.ko\n");
    Write("modules/kernel/dm-mod.ko", "module one");
    Write("modules/kernel/dm-flakey.ko", "module two");
    options_.kernel = {"test", "", folder_ + "/modules", "6.9.9-test"};
    options_.guest_folder = folder_ + "/guest";
    options_.modules = DefaultModules();
  }
  void TearDown() override {
    ::unsetenv("PLUGPULL_CACHE");
    (void)os::RemoveAll(folder_);
  }
  void Write(const std::string& path, const std::string& content) {
    const std::string full = folder_ + "/" + path;
    ASSERT_TRUE(os::MakeFolders(full.substr(0, full.rfind('/'))).ok());
    ASSERT_TRUE(os::WriteFileAtomic(full, content).ok());
  }
  std::string Build() {
    const auto path = BuildInitramfs(options_);
    EXPECT_TRUE(path.ok()) << path.error().ToString();
    return path.ok() ? *path : "";
  }

  std::string folder_;
  InitramfsOptions options_;
};

TEST_F(BuildTest, HasWhatTheGuestNeeds) {
  Write("data/input", "bytes");
  Write("data/script", "#!/bin/sh\nexit 0\n");
  fs::permissions(folder_ + "/data/script", fs::perms::owner_all);
  options_.files["/scenario/input"] = folder_ + "/data/input";
  options_.files["/scenario/script"] = folder_ + "/data/script";
  options_.texts["/etc/note"] = "text";
  options_.programs = {"sh", "env", "plugpull-agent"};
  Write("guest/plugpull-agent", "agent");
  const auto archive = os::ReadFile(Build(), Bytes(1 << 30));
  ASSERT_TRUE(archive.ok());
  const auto entries = Unpack(*archive, nullptr);
  EXPECT_EQ(entries.at("init").content, "init");
  EXPECT_EQ(entries.at("init").mode, 0100755u);
  EXPECT_EQ(entries.at("usr/bin/plugpull-mark").content, "mark");
  EXPECT_EQ(entries.at("usr/bin/plugpull-agent").content, "agent");
  EXPECT_EQ(entries.at("usr/bin/plugpull-agent").mode, 0100755u);
  EXPECT_EQ(entries.at("etc/plugpull/modules").content,
            "/usr/lib/modules/6.9.9-test/kernel/dm-mod.ko\n"
            "/usr/lib/modules/6.9.9-test/kernel/dm-flakey.ko\n");
  EXPECT_EQ(entries.at("usr/lib/modules/6.9.9-test/kernel/dm-flakey.ko").content, "module two");
  EXPECT_EQ(entries.at("scenario/input").content, "bytes");
  EXPECT_EQ(entries.at("scenario/script").mode, 0100755u);
  EXPECT_EQ(entries.at("etc/note").content, "text");
  EXPECT_EQ(entries.at("bin").content, "usr/bin");
  EXPECT_EQ(entries.at("usr/bin/sh").content, "bash");
  EXPECT_THAT(entries.at("etc/mke2fs.conf").content, HasSubstr("metadata_csum"));
  for (const char* path : {"usr/bin/bash", "usr/bin/mount", "usr/sbin/e2fsck", "usr/sbin/mkfs.ext4",
                           "usr/sbin/dmsetup", "usr/lib64/ld-linux-x86-64.so.2", "usr/bin/env"}) {
    EXPECT_TRUE(entries.contains(path)) << path;
  }
}

TEST_F(BuildTest, IsMadeOnceForTheSameContent) {
  const std::string path = Build();
  const auto written = fs::file_size(path);
  EXPECT_EQ(Build(), path);
  Write("guest/plugpull-guest", "another init");
  const std::string other = Build();
  EXPECT_NE(other, path);
  Write("guest/plugpull-guest", "init");
  EXPECT_EQ(Build(), path);
  // A damaged one is made again.
  {
    std::fstream file(path, std::ios::in | std::ios::out);
    file.seekp(1000);
    file << "damage";
  }
  EXPECT_EQ(Build(), path);
  EXPECT_EQ(fs::file_size(path), written);
  const auto text = os::ReadFile(path, Bytes(1 << 30));
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(text->substr(990, 20), testing::Not(HasSubstr("damage")));
}

TEST_F(BuildTest, OldOnesAreSwept) {
  const std::string cache = folder_ + "/cache/initramfs";
  ASSERT_TRUE(os::MakeFolders(cache).ok());
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (int i = 0; i < 12; ++i) {
    const std::string path = cache + "/old" + std::to_string(i) + "-x.cpio";
    std::ofstream(path) << "x";
    fs::last_write_time(path, old + std::chrono::minutes(i));
  }
  std::ofstream(cache + "/half.cpio.Ab12Cd") << "of a killed writer";
  const std::string path = Build();
  const auto names = os::ListFolder(cache);
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre(".lock", fs::path(path).filename().string(), "old10-x.cpio",
                                  "old11-x.cpio", "old5-x.cpio", "old6-x.cpio", "old7-x.cpio",
                                  "old8-x.cpio", "old9-x.cpio"));
}

TEST_F(BuildTest, WhatIsMissingIsNamed) {
  options_.programs = {"no-such-program-anywhere"};
  auto path = BuildInitramfs(options_);
  ASSERT_FALSE(path.ok());
  EXPECT_EQ(path.error().code, ErrorCode::kUser);
  EXPECT_THAT(path.error().message, HasSubstr("no-such-program-anywhere"));
  options_.programs.clear();
  options_.files["/scenario/x"] = folder_ + "/no-such-file";
  EXPECT_THAT(BuildInitramfs(options_).error().message, HasSubstr("no-such-file"));
  options_.files.clear();
  options_.texts["/tmp/x"] = "covered";
  EXPECT_THAT(BuildInitramfs(options_).error().message, HasSubstr("/tmp/x"));
  options_.texts.clear();
  options_.guest_folder = folder_ + "/empty";
  EXPECT_THAT(BuildInitramfs(options_).error().message, HasSubstr("PLUGPULL_GUEST_DIR"));
}

}  // namespace
}  // namespace plugpull::vm
