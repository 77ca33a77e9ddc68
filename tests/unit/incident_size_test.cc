// SPDX-License-Identifier: Apache-2.0
// Logs that are far longer than the memory that reading them may take. PLUGPULL_LOG_MIB is how
// long; the limit is the same for all.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace plugpull {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// RLIMIT_AS of the program: its libraries are about half of it.
constexpr uint64_t kAddressSpaceKib = 160 << 10;
constexpr uint64_t kLogBytes = uint64_t{PLUGPULL_LOG_MIB} << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kLimitIsPossible = false;  // the sanitizer's own address space is larger
#else
constexpr bool kLimitIsPossible = true;
#endif

class IncidentSizeTest : public ::testing::Test {
 protected:
  IncidentSizeTest() : folder_("incident-size"), log_(folder_ / "klog") {}

  // `piece` over and over.
  void WriteLog(const std::string& head, const std::string& piece) {
    std::string chunk;
    while (chunk.size() < 1 << 20) chunk += piece;
    FILE* file = std::fopen(log_.c_str(), "we");
    ASSERT_NE(file, nullptr);
    bool written = std::fwrite(head.data(), 1, head.size(), file) == head.size();
    for (uint64_t done = 0; written && done < kLogBytes; done += chunk.size()) {
      written = std::fwrite(chunk.data(), 1, chunk.size(), file) == chunk.size();
    }
    EXPECT_EQ(std::fclose(file), 0);
    ASSERT_TRUE(written) << "the log could not be written";
  }

  // Zeroes, without room on the disk.
  void WriteZeroes() {
    WriteText(log_, "");
    ASSERT_EQ(::truncate(log_.c_str(), static_cast<off_t>(kLogBytes)), 0);
  }

  ProgramEnd Import() {
    os::SubprocessOptions options;
    options.argv = {"/bin/sh",
                    "-c",
                    (kLimitIsPossible ? fmt::format("ulimit -v {}; ", kAddressSpaceKib) : "") +
                        "exec \"$0\" incident import \"$1\" --json 2> \"$2\"",
                    PlugpullPath(),
                    log_,
                    folder_ / "stderr"};
    const auto output = os::RunProgram(std::move(options), Millis(600'000), Mebibytes(64));
    ProgramEnd end;
    EXPECT_TRUE(output.ok()) << output.error().ToString();
    if (!output.ok()) return end;
    if (!output->exit.signaled) end.status = output->exit.code;
    end.out = output->out;
    const auto err = os::ReadFile(folder_ / "stderr", Mebibytes(1));
    if (err.ok()) end.err = *err;
    return end;
  }

  nlohmann::json Answer() {
    const ProgramEnd end = Import();
    EXPECT_EQ(end.status, 0) << end.err;
    auto json = nlohmann::json::parse(end.out, nullptr, false);
    EXPECT_TRUE(json.is_object()) << end.out.substr(0, 1000);
    return json.is_object() ? json : nlohmann::json::object();
  }

  TestFolder folder_;
  std::string log_;
};

// Network noise, and a healthy disk at its beginning.
TEST_F(IncidentSizeTest, ALongLogIsAnswered) {
  WriteLog(
      "EXT4-fs (vdb): VFS: Can't find ext4 filesystem\n"
      "EXT4-fs (vdb): mounted filesystem with ordered data mode. Opts: (null)\n",
      "[ 1234.567890] cni0: port 11(veth90aa64e9) entered forwarding state\n"
      "[ 1234.567891] IPv6: ADDRCONF(NETDEV_UP): eth0: link is not ready\n");
  const nlohmann::json json = Answer();
  EXPECT_EQ(json["device"], "vdb");
  EXPECT_EQ(json["loop"], nullptr);
  EXPECT_EQ(json["first_format"], true);
}

// More events than are kept: the loop is found in those that are, and what was left out is said.
TEST_F(IncidentSizeTest, ALoopWithoutEndIsALoop) {
  WriteLog("",
           "virtio_blk virtio18: [vdo] * 512-byte logical blocks\n"
           "EXT4-fs (vdo): VFS: Can't find ext4 filesystem\n"
           "EXT4-fs (vdo): barriers disabled\n"
           "EXT4-fs (vdo): mounted filesystem with writeback data mode.\n"
           "EXT4-fs (vdo): barriers disabled\n"
           "EXT4-fs (vdo): mounted filesystem with writeback data mode.\n");
  const nlohmann::json json = Answer();
  EXPECT_EQ(json["device"], "vdo");
  EXPECT_EQ(json["loop"]["events"], (nlohmann::json{"not recognised", "mounted", "re-attached"}));
  EXPECT_THAT(json["notes"].dump(), HasSubstr("events were left out"));
}

// Lines that are cut, times of several clocks, and other programs between them.
TEST_F(IncidentSizeTest, MixedClocksAndCutLinesAreAnswered) {
  WriteLog("EXT4-fs (vdb): mounted filesystem with ordered data mode. Opts: (null)\n",
           "[ 1234.567890] cni0: port 11 entered forwarding sta\n"
           "[Mon Nov 23 15:26:26 2026] IPv6: ADDRCONF(NETDEV_UP): eth0\n"
           "2026-11-23T15:26:28,000000+0000 node kernel: EXT4-fs (vd\n"
           "Nov 23 15:26:26 node kubelet[812]: hello\n[    0.000001] \n[ 12");
  const nlohmann::json json = Answer();
  EXPECT_EQ(json["device"], "vdb");
  EXPECT_EQ(json["loop"], nullptr);
}

TEST_F(IncidentSizeTest, JunkIsRefused) {
  std::string junk;
  for (int i = 0; i < 100'003; ++i) junk += static_cast<char>(i * 7919 >> 3);
  for (const bool zeroes : {false, true}) {
    zeroes ? WriteZeroes() : WriteLog("", junk);
    const ProgramEnd end = Import();
    EXPECT_EQ(end.status, 2) << end.err;
    EXPECT_THAT(end.err, HasSubstr("the log holds no kernel messages"));
    EXPECT_EQ(end.out, "");
  }
}

// One line, one entry of a journal, one field of one: none is kept whole.
TEST_F(IncidentSizeTest, WhatHasNoEndIsNotKept) {
  for (const std::string head : {"[    1.000000] EXT4-fs (vdb): ", "{\"MESSAGE\": \"",
                                 "__CURSOR=a\nMESSAGE=", "{\"dmesg\": ["}) {
    WriteLog(head, "EXT4-fs (vdb): error ");
    const ProgramEnd end = Import();
    EXPECT_THAT(end.status, AnyOf(0, 2)) << head << "\n" << end.err;
  }
}

}  // namespace
}  // namespace plugpull
