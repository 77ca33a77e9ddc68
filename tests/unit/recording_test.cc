// SPDX-License-Identifier: Apache-2.0
#include "framework/recording/recording.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "framework/image/fingerprint.h"
#include "framework/os/file.h"
#include "framework/recording/compress.h"
#include "tests/support/program.h"

namespace plugpull::recording {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kSeal[] = "# xxh3-128 of the lines above: ";

std::vector<uint8_t> LogBytes() {
  std::vector<uint8_t> bytes(3000);
  Prng prng(1);
  for (size_t i = 0; i < 1000; ++i) bytes[i] = static_cast<uint8_t>(prng.Next());
  return bytes;
}

WorkloadTrace Trace(const std::string& disk, uint32_t workload) {
  WorkloadTrace trace;
  trace.set_disk(disk);
  trace.set_workload(workload);
  trace.set_seed(42);
  trace.add_operation()->set_path("d1/f2");
  return trace;
}

Recording Manifest() {
  Recording manifest;
  manifest.set_seed(7);
  manifest.mutable_scenario()->set_name("small");
  RecordedDisk& disk = *manifest.add_disk();
  disk.set_name("vol");
  disk.set_size_bytes(1 << 20);
  disk.set_log_file("vol.log.zst");
  disk.set_log_bytes(LogBytes().size());
  return manifest;
}

void WriteRecording(const std::string& folder, const Recording& manifest = Manifest()) {
  auto writer = Writer::Start(folder);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  ASSERT_TRUE(writer->AddCompressed("vol.log.zst", LogBytes()).ok());
  ASSERT_TRUE(writer->AddTrace(Trace("vol", 0)).ok());
  ASSERT_TRUE(writer->AddTrace(Trace("other", 1)).ok());
  ASSERT_TRUE(os::WriteFileAtomic(writer->PathOf(kConsoleName), "a line\n").ok());
  ASSERT_TRUE(writer->AddWritten(kConsoleName).ok());
  const Status finished = writer->Finish(manifest);
  ASSERT_TRUE(finished.ok()) << finished.error().ToString();
}

std::string Read(const std::string& path) {
  const auto text = os::ReadFile(path, Bytes(1 << 20));
  EXPECT_TRUE(text.ok());
  return text.ok() ? *text : "";
}

void Write(const std::string& path, const std::string& text) {
  ASSERT_TRUE(os::WriteFileAtomic(path, text).ok());
}

// The manifest of `folder`, changed and sealed again, as a hostile author would.
void Rewrite(const std::string& folder, const std::function<void(Recording&)>& change) {
  const std::string path = folder + "/" + kManifestName;
  std::string text = Read(path);
  text.resize(text.rfind(kSeal));
  Recording manifest;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &manifest));
  change(manifest);
  ASSERT_TRUE(google::protobuf::TextFormat::PrintToString(manifest, &text));
  const auto seal =
      image::FingerprintOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()}).ToHex();
  Write(path, text + kSeal + seal + "\n");
}

void ExpectRefused(const std::string& folder, const std::string& names) {
  const auto reader = Reader::Open(folder);
  ASSERT_FALSE(reader.ok()) << "was expected to name " << names;
  EXPECT_EQ(reader.error().code, ErrorCode::kUser);
  EXPECT_THAT(reader.error().ToString(), HasSubstr(names));
}

class RecordingFolder : public testing::Test {
 protected:
  void SetUp() override { WriteRecording(folder_); }
  TestFolder place_{"recording"};
  std::string folder_ = place_ / "rec";
};

TEST_F(RecordingFolder, IsReadAsItWasWritten) {
  const auto reader = Reader::Open(folder_);
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  EXPECT_EQ(reader->manifest().format_version(), kFormatVersion);
  EXPECT_EQ(reader->manifest().seed(), 7U);
  EXPECT_EQ(reader->manifest().scenario().name(), "small");
  EXPECT_EQ(reader->manifest().file_size(), 4);
  const RecordedDisk* disk = reader->FindDisk("vol");
  ASSERT_NE(disk, nullptr);
  EXPECT_EQ(reader->FindDisk("other"), nullptr);
  const auto log = reader->ReadLog(*disk);
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(*log, LogBytes());
  const auto traces = reader->ReadTraces("vol");
  ASSERT_TRUE(traces.ok());
  ASSERT_EQ(traces->size(), 1U);
  EXPECT_EQ((*traces)[0].SerializeAsString(), Trace("vol", 0).SerializeAsString());
  EXPECT_TRUE(reader->ReadTraces("none")->empty());
  const auto names = os::ListFolder(folder_);
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre("console.log", "recording.textproto", "vol.log.zst",
                                  "workload-0.pb.zst", "workload-1.pb.zst"));
}

TEST_F(RecordingFolder, AnyDamageToAnyFileIsFound) {
  for (const std::string name : {"vol.log.zst", "workload-0.pb.zst", "console.log"}) {
    const std::string path = folder_ + "/" + name;
    const std::string whole = Read(path);
    for (size_t at = 0; at<whole.size(); at += whole.size()> 400 ? 13 : 1) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1);
      Write(path, damaged);
      ExpectRefused(folder_, path);
    }
    for (const size_t length : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 1}) {
      Write(path, whole.substr(0, length));
      ExpectRefused(folder_, path);
    }
    Write(path, whole + "x");
    ExpectRefused(folder_, path);
    ASSERT_TRUE(os::RemoveAll(path).ok());
    ExpectRefused(folder_, path);
    ASSERT_TRUE(os::MakeFolders(path).ok());
    ExpectRefused(folder_, path);
    ASSERT_TRUE(os::RemoveAll(path).ok());
    Write(path, whole);
    EXPECT_TRUE(Reader::Open(folder_).ok());
  }
}

TEST_F(RecordingFolder, AnyDamageToTheManifestIsFound) {
  const std::string path = folder_ + "/" + kManifestName;
  const std::string whole = Read(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    Write(path, damaged);
    ExpectRefused(folder_, path);
  }
  for (size_t length = 0; length < whole.size(); length += 64) {
    Write(path, whole.substr(0, length));
    ExpectRefused(folder_, path);
  }
  Write(path, whole.substr(0, whole.size() - 1));
  ExpectRefused(folder_, path);
  Write(path, whole + "seed: 8\n");
  ExpectRefused(folder_, path);
  ASSERT_TRUE(os::RemoveAll(path).ok());
  ExpectRefused(folder_, folder_);
}

TEST_F(RecordingFolder, OfANewerFormatSaysWhatToDo) {
  Rewrite(folder_, [](Recording& manifest) { manifest.set_format_version(kFormatVersion + 1); });
  ExpectRefused(folder_, "use a newer one");
}

TEST_F(RecordingFolder, NamesThatLeadOutOfTheFolderAreRefused) {
  Write(place_ / "secret", "x");
  for (const std::string name : {"../secret", "/etc/passwd", "a/b", ".hidden", "", "..", "."}) {
    WriteRecording(folder_);
    Rewrite(folder_, [&](Recording& manifest) { manifest.mutable_file(2)->set_name(name); });
    ExpectRefused(folder_, "'" + name + "'");
    WriteRecording(folder_);
    Rewrite(folder_, [&](Recording& manifest) { manifest.mutable_disk(0)->set_log_file(name); });
    ExpectRefused(folder_, "'" + name + "'");
  }
}

TEST_F(RecordingFolder, ALogThatIsNotListedIsRefused) {
  Write(folder_ + "/unlisted.zst", "x");
  Rewrite(folder_,
          [](Recording& manifest) { manifest.mutable_disk(0)->set_log_file("unlisted.zst"); });
  ExpectRefused(folder_, "unlisted.zst");
}

TEST_F(RecordingFolder, AHostLogIsReadListedAndBounded) {
  const auto reader = Reader::Open(folder_);
  ASSERT_TRUE(reader.ok());
  const auto none = reader->ReadHostLog(*reader->FindDisk("vol"));
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, HasSubstr("none was asked for"));
  const auto with = [&](const char* file, uint64_t bytes, const char* missing) {
    Rewrite(folder_, [&](Recording& manifest) {
      RecordedDisk& disk = *manifest.mutable_disk(0);
      disk.set_host_log_file(file);
      disk.set_host_log_bytes(bytes);
      disk.clear_host_log_missing();
      if (missing == nullptr) return;
      disk.clear_host_log_file();
      disk.set_host_log_missing(missing);
    });
  };
  with("vol.log.zst", LogBytes().size(), nullptr);
  const auto whole = Reader::Open(folder_);
  ASSERT_TRUE(whole.ok());
  const auto log = whole->ReadHostLog(*whole->FindDisk("vol"));
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(*log, LogBytes());
  for (const uint64_t size : {uint64_t{2999}, uint64_t{1} << 40, ~uint64_t{0}}) {
    with("vol.log.zst", size, nullptr);
    const auto other = Reader::Open(folder_);
    ASSERT_TRUE(other.ok());
    EXPECT_FALSE(other->ReadHostLog(*other->FindDisk("vol")).ok());
  }
  with("", 0, "it has too many bytes");
  const auto missing = Reader::Open(folder_);
  ASSERT_TRUE(missing.ok());
  const auto why = missing->ReadHostLog(*missing->FindDisk("vol"));
  ASSERT_FALSE(why.ok());
  EXPECT_THAT(why.error().message, HasSubstr("it has too many bytes"));
  with("../secret", 1, nullptr);
  ExpectRefused(folder_, "../secret");
}

TEST_F(RecordingFolder, ALogOfAnotherLengthIsAUserError) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{2999}, uint64_t{3001}, uint64_t{8} << 30,
                              uint64_t{1} << 40, ~uint64_t{0}}) {
    Rewrite(folder_, [&](Recording& manifest) { manifest.mutable_disk(0)->set_log_bytes(size); });
    const auto reader = Reader::Open(folder_);
    ASSERT_TRUE(reader.ok());
    const auto log = reader->ReadLog(reader->manifest().disk(0));
    ASSERT_FALSE(log.ok()) << size;
    EXPECT_EQ(log.error().code, ErrorCode::kUser);
  }
}

TEST_F(RecordingFolder, ATraceThatIsNoneIsAUserError) {
  auto writer = Writer::Start(folder_);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->AddCompressed("vol.log.zst", LogBytes()).ok());
  ASSERT_TRUE(writer->AddCompressed("workload-0.pb.zst", std::vector<uint8_t>(50, 0xff)).ok());
  ASSERT_TRUE(os::WriteFileAtomic(writer->PathOf("workload-1.pb.zst"), "no zstd").ok());
  ASSERT_TRUE(writer->AddWritten("workload-1.pb.zst").ok());
  ASSERT_TRUE(writer->Finish(Manifest()).ok());
  const auto reader = Reader::Open(folder_);
  ASSERT_TRUE(reader.ok());
  const auto traces = reader->ReadTraces("vol");
  ASSERT_FALSE(traces.ok());
  EXPECT_EQ(traces.error().code, ErrorCode::kUser);
  EXPECT_THAT(traces.error().ToString(), HasSubstr("workload-0.pb.zst"));
}

TEST_F(RecordingFolder, IsReplacedOnlyByAWholeOne) {
  {
    auto writer = Writer::Start(folder_);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->AddCompressed("vol.log.zst", LogBytes()).ok());
    EXPECT_FALSE(Reader::Open(writer->PathOf("")).ok()) << "what is being written is no recording";
  }
  EXPECT_TRUE(Reader::Open(folder_).ok()) << "the older one is still there";
  EXPECT_FALSE(os::Exists(folder_ + ".partial"));
  Recording manifest = Manifest();
  manifest.set_seed(8);
  WriteRecording(folder_, manifest);
  EXPECT_EQ(Reader::Open(folder_)->manifest().seed(), 8U);
}

TEST(Writer, WithoutFinishLeavesNothing) {
  const TestFolder place("writer");
  {
    auto writer = Writer::Start(place / "rec");
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->AddTrace(Trace("vol", 0)).ok());
    Writer moved = *std::move(writer);
    EXPECT_TRUE(os::Exists(moved.PathOf("workload-0.pb.zst")));
  }
  const auto left = os::ListFolder(place.path());
  ASSERT_TRUE(left.ok());
  EXPECT_TRUE(left->empty());
}

TEST(Writer, SweepsWhatADeadOneHasLeft) {
  const TestFolder place("writer");
  ASSERT_TRUE(os::MakeFolders(place / "rec.partial").ok());
  Write(place / "rec.partial/workload-9.pb.zst", "left over");
  WriteRecording(place / "rec");
  EXPECT_FALSE(os::Exists(place / "rec/workload-9.pb.zst"));
  EXPECT_TRUE(Reader::Open(place / "rec").ok());
}

TEST(Writer, TakesAFolderWithASlashBehindIt) {
  const TestFolder place("writer");
  WriteRecording(place / "rec/");
  EXPECT_TRUE(Reader::Open(place / "rec").ok());
  EXPECT_TRUE(Reader::Open(place / "rec/").ok());
}

TEST(Compress, RoundTripsAndNeverGivesOtherThanAsked) {
  for (const size_t size : {0UL, 1UL, 1000UL, 200000UL}) {
    std::vector<uint8_t> bytes(size);
    Prng prng(size);
    for (size_t i = 0; i < size; i += 3) bytes[i] = static_cast<uint8_t>(prng.Next());
    const auto compressed = Compress(bytes);
    ASSERT_TRUE(compressed.ok());
    const auto again = Decompress(*compressed, Bytes(size));
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(*again, bytes);
    EXPECT_FALSE(Decompress(*compressed, Bytes(size + 1)).ok());
    if (size > 0) {
      EXPECT_FALSE(Decompress(*compressed, Bytes(size - 1)).ok());
    }
    for (size_t length = 0; length < compressed->size(); length += 1 + compressed->size() / 50) {
      EXPECT_FALSE(Decompress(std::span(*compressed).first(length), Bytes(size)).ok());
    }
  }
}

TEST(Compress, DamageNeverCrashes) {
  std::vector<uint8_t> bytes(20000);
  Prng prng(4);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(prng.Below(7));
  const auto compressed = *Compress(bytes);
  size_t refused = 0;
  for (int i = 0; i < 3000; ++i) {
    auto damaged = compressed;
    damaged[prng.Below(damaged.size())] = static_cast<uint8_t>(prng.Next());
    const auto got = Decompress(damaged, Bytes(bytes.size()));
    if (!got.ok()) {
      ++refused;
      EXPECT_EQ(got.error().code, ErrorCode::kUser);
    } else {
      EXPECT_EQ(got->size(), bytes.size());
    }
  }
  EXPECT_GT(refused, 0U);
}

}  // namespace
}  // namespace plugpull::recording
