// SPDX-License-Identifier: Apache-2.0
// Marks, written by the library and by the program plugpull-mark, to a file in place of a strip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "framework/os/file.h"
#include "framework/os/subprocess.h"
#include "vm/guest/mark_writer.h"

namespace plugpull::guest {
namespace {

using ::testing::HasSubstr;

constexpr size_t kStripBytes = 8192;

class MarkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    strip_ = ::testing::TempDir() + "/strip-" + std::to_string(::getpid());
    ASSERT_TRUE(os::WriteFileAtomic(strip_, std::string(kStripBytes, 'x')).ok());
  }
  void TearDown() override { ASSERT_TRUE(os::RemoveAll(strip_).ok()); }

  std::optional<blocklog::Mark> Read() const {
    const auto text = os::ReadFile(strip_, Bytes(kStripBytes));
    if (!text.ok() || text->size() != kStripBytes) return std::nullopt;
    // Nothing but the first sector is touched.
    EXPECT_EQ(text->substr(blocklog::kMarkBytes), std::string(kStripBytes - 512, 'x'));
    return blocklog::DecodeMark({reinterpret_cast<const uint8_t*>(text->data()), text->size()});
  }

  os::RunOutput Program(std::vector<std::string> words, bool with_device = true) const {
    os::SubprocessOptions options;
    options.argv = {std::string(PLUGPULL_BINARY_DIR) + "/bin/plugpull-mark"};
    options.argv.insert(options.argv.end(), words.begin(), words.end());
    options.environment = {"PLUGPULL_MARK_DEVICE=" + (with_device ? strip_ : "")};
    auto output = os::RunProgram(options, Millis(20'000));
    EXPECT_TRUE(output.ok()) << output.error().ToString();
    return output.ok() ? *output : os::RunOutput();
  }

  std::string strip_;
};

TEST_F(MarkTest, TheLibraryWritesWhatTheReaderReads) {
  auto writer = MarkWriter::Open(strip_);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  for (const blocklog::Mark& mark : {blocklog::Mark{"ack", "0.12"}, blocklog::Mark{"drain", ""},
                                     blocklog::Mark{"note", std::string(396, 'n')}}) {
    ASSERT_TRUE(writer->Write(mark).ok());
    EXPECT_EQ(Read(), mark);
  }
}

TEST_F(MarkTest, WhatCannotBeEncodedIsRefused) {
  EXPECT_FALSE(ValidateMark({"", "x"}).ok());
  EXPECT_FALSE(ValidateMark({"a b", "x"}).ok());
  EXPECT_FALSE(ValidateMark({"note", "a\nb"}).ok());
  EXPECT_FALSE(ValidateMark({"note", std::string("a\0b", 3)}).ok());
  EXPECT_FALSE(ValidateMark({"note", std::string(397, 'n')}).ok());
  EXPECT_TRUE(ValidateMark({"note", "several words"}).ok());
  EXPECT_FALSE(MarkWriter::Open(strip_ + "-missing").ok());
  EXPECT_FALSE(MarkWriter::Open(::testing::TempDir()).ok());
}

TEST_F(MarkTest, TheProgramWritesEachKind) {
  for (const char* kind : {"start", "done", "note"}) {
    const auto output = Program({kind, "put-1"});
    EXPECT_EQ(output.exit.code, 0) << output.out;
    EXPECT_EQ(output.out, "");
    EXPECT_EQ(Read(), (blocklog::Mark{kind, "put-1"}));
  }
  EXPECT_EQ(Program({"note", "several", "words"}).exit.code, 0);
  EXPECT_EQ(Read(), (blocklog::Mark{"note", "several words"}));
}

TEST_F(MarkTest, TheProgramSaysWhatIsWrongWithItsCommandLine) {
  const auto expect_usage = [](const os::RunOutput& output, const std::string& text) {
    EXPECT_EQ(output.exit.code, 2);
    EXPECT_THAT(output.out, HasSubstr(text));
  };
  expect_usage(Program({}), "start, done and note");
  expect_usage(Program({"stop", "x"}), "unknown kind of mark \"stop\"");
  expect_usage(Program({"done"}), "needs a name");
  expect_usage(Program({"done", ""}), "needs a name");
  expect_usage(Program({"done", std::string(391, 'x')}), "391 bytes");
  expect_usage(Program({"done", "a\nb"}), "one line");
  expect_usage(Program({"done", "x"}, false), "PLUGPULL_MARK_DEVICE is not set");
  EXPECT_EQ(Read(), std::nullopt);
}

TEST_F(MarkTest, TheProgramFailsWhenTheMarkIsNotWritten) {
  ASSERT_TRUE(os::RemoveAll(strip_).ok());
  const auto output = Program({"done", "x"});
  EXPECT_EQ(output.exit.code, 1);
  EXPECT_THAT(output.out, HasSubstr("No such file"));
  ASSERT_TRUE(os::WriteFileAtomic(strip_, "").ok());
}

TEST_F(MarkTest, HelpShowsAnExample) {
  const auto output = Program({"--help"}, false);
  EXPECT_EQ(output.exit.code, 0);
  EXPECT_THAT(output.out, HasSubstr("plugpull-mark done \"put-$i\""));
}

TEST_F(MarkTest, SeveralProgramsAtOnceEachWriteAWholeMark) {
  std::vector<os::Subprocess> children;
  for (int i = 0; i < 12; ++i) {
    os::SubprocessOptions options;
    options.argv = {std::string(PLUGPULL_BINARY_DIR) + "/bin/plugpull-mark", "done",
                    std::string(200, static_cast<char>('a' + i))};
    options.environment = {"PLUGPULL_MARK_DEVICE=" + strip_};
    auto child = os::Subprocess::Start(options);
    ASSERT_TRUE(child.ok());
    children.push_back(std::move(*child));
  }
  for (auto& child : children) {
    const auto ended = child.Wait(os::Deadline::After(Millis(20'000)));
    ASSERT_TRUE(ended.ok() && ended->has_value());
    EXPECT_EQ((*ended)->code, 0);
  }
  const auto last = Read();
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(last->text, std::string(200, last->text[0]));
}

}  // namespace
}  // namespace plugpull::guest
