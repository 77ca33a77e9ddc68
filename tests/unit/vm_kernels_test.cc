// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "framework/base/prng.h"
#include "framework/os/file.h"
#include "vm/kernels/apt_sources.h"
#include "vm/kernels/kernel_image.h"
#include "vm/kernels/kernels.h"

namespace plugpull::vm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(AptSources, OneLineStyle) {
  const auto sources = ParseOneLineSources(
      "# deb http://commented.invalid/debian sid main\n"
      "deb http://one.invalid/debian bookworm main contrib # and a comment\n"
      "deb-src http://source.invalid/debian bookworm main\r\n"
      "  deb [ arch=amd64 signed-by=/x.gpg ] http://two.invalid/debian\ttrixie main\n"
      "deb [arch=amd64] http://three.invalid/flat ./\n"
      "deb\n"
      "deb [never closed http://four.invalid/debian sid main\n");
  EXPECT_THAT(
      sources,
      ElementsAre(AptSource{{"http://one.invalid/debian"}, {"bookworm"}, {"main", "contrib"}},
                  AptSource{{"http://two.invalid/debian"}, {"trixie"}, {"main"}},
                  AptSource{{"http://three.invalid/flat"}, {"./"}, {}}));
}

TEST(AptSources, Deb822Style) {
  const auto sources = ParseDeb822Sources(
      "# comment\n"
      "Types: deb deb-src\n"
      "URIs: http://one.invalid/debian\n"
      "# a comment in a stanza\n"
      "Suites: bookworm bookworm-updates\n"
      "Components:\n main\n contrib\n"
      "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz\n"
      "\n\n"
      "types: deb\nuris: http://off.invalid/debian\nsuites: sid\ncomponents: main\nEnabled: no\n"
      "\n"
      "Types: deb-src\nURIs: http://source.invalid/debian\nSuites: sid\nComponents: main\n"
      "\n"
      "no colon here\n continued\n"
      "\n"
      "Types: deb\nURIs: http://two.invalid/security\nSuites: bookworm-security\n"
      "Components: main");
  EXPECT_THAT(
      sources,
      ElementsAre(
          AptSource{
              {"http://one.invalid/debian"}, {"bookworm", "bookworm-updates"}, {"main", "contrib"}},
          AptSource{{"http://two.invalid/security"}, {"bookworm-security"}, {"main"}}));
}

TEST(AptSources, ChoosesTheFirstDebianMirrors) {
  const DebianMirrors mirrors = ChooseDebianMirrors({
      {{"cdrom:[Debian]/"}, {"bookworm"}, {"main"}},
      {{"http://other.invalid"}, {"nodistro"}, {"main"}},
      {{"http://no-main.invalid"}, {"bookworm"}, {"contrib"}},
      {{"http://security.invalid"}, {"bookworm-security"}, {"main"}},
      {{"mirror+file:/etc/apt/mirrors/debian.list"}, {"bookworm-updates"}, {"main"}},
      {{"http://later.invalid"}, {"sid"}, {"main"}},
  });
  EXPECT_EQ(mirrors.main, "mirror+file:/etc/apt/mirrors/debian.list");
  EXPECT_EQ(mirrors.security, "http://security.invalid");
}

TEST(AptSources, OtherDistributionsAreNoDebianMirror) {
  const DebianMirrors mirrors = ChooseDebianMirrors({
      {{"http://ubuntu.invalid"}, {"noble", "noble-updates"}, {"main"}},
      {{"http://ubuntu-security.invalid"}, {"noble-security"}, {"main"}},
  });
  EXPECT_EQ(mirrors.main, "");
  EXPECT_EQ(mirrors.security, "");
}

TEST(AptSources, AnyBytesAreParsed) {
  const std::string alphabet = "deb [] : \n\t#TypesURIs:Suites\r\0x";
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    Prng prng(seed);
    std::string text;
    for (uint64_t i = prng.Below(200); i > 0; --i) text += alphabet[prng.Below(alphabet.size())];
    (void)ChooseDebianMirrors(ParseOneLineSources(text));
    (void)ChooseDebianMirrors(ParseDeb822Sources(text));
    (void)ParsePackageRecord(text);
  }
}

TEST(AptSources, PackageRecord) {
  const auto record = ParsePackageRecord(
      "Package: linux-image-7.2.13+deb14-cloud-amd64\n"
      "Version: 7.2.13-1\n"
      "Depends: dracut | initramfs-tools (>= 0.120) | linux-initramfs-tool,\n"
      " linux-binary-7.2.13+deb14-cloud-amd64 (= 7.2.13-1), kmod:any,\n"
      " linux-modules-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)\n"
      "Description: text\n\nPackage: older\nVersion: 1\n");
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->version, "7.2.13-1");
  EXPECT_THAT(record->depends, ElementsAre("dracut", "linux-binary-7.2.13+deb14-cloud-amd64",
                                           "kmod", "linux-modules-7.2.13+deb14-cloud-amd64"));
  EXPECT_FALSE(ParsePackageRecord("Package: x\n").ok());
  EXPECT_FALSE(ParsePackageRecord("").ok());
}

std::string FakeBzImage(const std::string& release) {
  std::string image(0x400, '\0');
  image.replace(0x202, 4, "HdrS");
  image[0x20e] = 0x10;  // 0x200 + 0x110
  image[0x20f] = 0x01;
  image += release + " (builder) #1 SMP";
  image.replace(0x310, release.size() + 1, release + " ");
  return image;
}

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(KernelImage, Release) {
  const auto release = BzImageRelease(AsBytes(FakeBzImage("6.1.0-50-cloud-amd64")));
  ASSERT_TRUE(release.ok());
  EXPECT_EQ(*release, "6.1.0-50-cloud-amd64");
  EXPECT_FALSE(BzImageRelease({}).ok());
  EXPECT_FALSE(BzImageRelease(AsBytes(std::string(4096, 'x'))).ok());
  EXPECT_FALSE(BzImageRelease(AsBytes(FakeBzImage("../../etc"))).ok());
  std::string no_pointer = FakeBzImage("6.1");
  no_pointer[0x20e] = no_pointer[0x20f] = 0;
  EXPECT_FALSE(BzImageRelease(AsBytes(no_pointer)).ok());
  std::string far_pointer = FakeBzImage("6.1");
  far_pointer[0x20f] = static_cast<char>(0xff);
  EXPECT_FALSE(BzImageRelease(AsBytes(far_pointer)).ok());
}

class ResolveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "plugpull-kernels-" + std::to_string(::getpid());
    ASSERT_TRUE(os::MakeFolders(folder_).ok());
    ::setenv("PLUGPULL_CACHE", (folder_ + "/cache").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("PLUGPULL_CACHE");
    ::unsetenv("PLUGPULL_DEBIAN_MIRROR");
    (void)os::RemoveAll(folder_);
  }
  void Write(const std::string& path, const std::string& content) {
    const std::string full = folder_ + "/" + path;
    ASSERT_TRUE(os::MakeFolders(full.substr(0, full.rfind('/'))).ok());
    ASSERT_TRUE(os::WriteFileAtomic(full, content).ok());
  }

  std::string folder_;
};

TEST_F(ResolveTest, UnknownNamesAreUserErrors) {
  for (const char* name : {"", "debian:4.19", "6.1", ":", "/boot/vmlinuz", "/a:", ":/a"}) {
    const auto kernel = ResolveKernel(name);
    ASSERT_FALSE(kernel.ok()) << name;
    EXPECT_EQ(kernel.error().code, ErrorCode::kUser);
    EXPECT_THAT(kernel.error().message, HasSubstr("debian:6.1"));
  }
}

TEST_F(ResolveTest, PathsWithModulesInAllPlaces) {
  Write("vmlinuz", FakeBzImage("6.9.9-test"));
  Write("direct/modules.dep", "");
  Write("old/lib/modules/6.9.9-test/modules.dep", "");
  Write("new/usr/lib/modules/6.9.9-test/modules.dep", "");
  for (const auto& [given, found] : std::vector<std::pair<std::string, std::string>>{
           {"direct", "direct"},
           {"old", "old/lib/modules/6.9.9-test"},
           {"new", "new/usr/lib/modules/6.9.9-test"},
           {"new/usr/lib/modules", "new/usr/lib/modules/6.9.9-test"}}) {
    const auto kernel = ResolveKernel(folder_ + "/vmlinuz:" + folder_ + "/" + given);
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    EXPECT_EQ(kernel->release, "6.9.9-test");
    EXPECT_EQ(kernel->modules, folder_ + "/" + found);
  }
  const auto none = ResolveKernel(folder_ + "/vmlinuz:" + folder_ + "/nowhere");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("modules.dep"));
}

TEST_F(ResolveTest, NothingIsCachedAtFirst) {
  const auto names = KernelNames();
  ASSERT_TRUE(names.ok());
  ASSERT_EQ(names->size(), 4u);
  EXPECT_EQ((*names)[1].name, "debian:6.1");
  EXPECT_EQ((*names)[1].suite, "bookworm");
  for (const auto& name : *names) EXPECT_FALSE(name.cached);
}

TEST_F(ResolveTest, MirrorThatDoesNotAnswerIsAnEnvironmentError) {
  ::setenv("PLUGPULL_DEBIAN_MIRROR", ("file:" + folder_ + "/no-mirror").c_str(), 1);
  Write("cache/kernels/.tmp-debian-6.1-new/leftover", "of a killed fetch");
  const auto kernel = ResolveKernel("debian:6.1");
  ASSERT_FALSE(kernel.ok());
  EXPECT_EQ(kernel.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(kernel.error().ToString(), HasSubstr("debian:6.1"));
  EXPECT_FALSE(os::Exists(folder_ + "/cache/kernels/debian-6.1"));
  EXPECT_FALSE(os::Exists(folder_ + "/cache/kernels/.tmp-debian-6.1-new/leftover"));
}

}  // namespace
}  // namespace plugpull::vm
