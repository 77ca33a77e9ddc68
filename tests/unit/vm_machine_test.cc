// SPDX-License-Identifier: Apache-2.0
// Frames from a peer that is not trusted, and Call against a machine that does what a script says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/prng.h"
#include "vm/fake/fake_machine.h"
#include "vm/framing.h"
#include "vm/machine.h"

namespace plugpull::vm {
namespace {

using ::testing::HasSubstr;

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

GuestMessage AnswerMessage(uint64_t id, const std::string& output) {
  GuestMessage message;
  message.mutable_answer()->set_id(id);
  message.mutable_answer()->set_output(output);
  return message;
}

TEST(Framing, MessagesComeBackWhateverThePieces) {
  std::string stream;
  for (uint64_t id = 1; id <= 20; ++id) {
    const auto frame = EncodeFrame(AnswerMessage(id, std::string(id * 37, 'x')));
    ASSERT_TRUE(frame.ok());
    stream += *frame;
  }
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Prng prng(seed);
    FrameReader reader;
    uint64_t next_id = 1;
    for (size_t at = 0; at < stream.size();) {
      const size_t piece = std::min<size_t>(prng.Between(1, 700), stream.size() - at);
      reader.Append(AsBytes(stream.substr(at, piece)));
      at += piece;
      for (;;) {
        const auto message = reader.Next<GuestMessage>();
        ASSERT_TRUE(message.ok());
        if (!*message) break;
        EXPECT_EQ((*message)->answer().id(), next_id++);
      }
    }
    EXPECT_EQ(next_id, 21u);
    EXPECT_EQ(reader.pending_bytes(), 0u);
  }
}

TEST(Framing, EmptyMessageIsAMessage) {
  FrameReader reader;
  reader.Append(AsBytes(std::string(4, '\0')));
  const auto message = reader.Next<GuestMessage>();
  ASSERT_TRUE(message.ok());
  EXPECT_TRUE(message->has_value());
}

TEST(Framing, LengthAboveTheLimitIsAnErrorBeforeAnyMemoryIsTaken) {
  for (const std::string& head : {std::string("\xff\xff\xff\xff"), std::string("\x01\0\0\x04", 4),
                                  std::string("\0\0\0\x80", 4)}) {
    FrameReader reader;
    reader.Append(AsBytes(head));
    const auto message = reader.Next<GuestMessage>();
    ASSERT_FALSE(message.ok());
    EXPECT_EQ(message.error().code, ErrorCode::kGuest);
    EXPECT_THAT(message.error().message, HasSubstr("67108864"));
  }
}

TEST(Framing, LargestLengthIsWaitedFor) {
  FrameReader reader;
  reader.Append(AsBytes(std::string("\0\0\0\x04", 4) + "abc"));
  const auto message = reader.Next<GuestMessage>();
  ASSERT_TRUE(message.ok());
  EXPECT_FALSE(message->has_value());
}

TEST(Framing, BytesThatAreNoMessageAreAnError) {
  FrameReader reader;
  reader.Append(AsBytes(std::string("\x02\0\0\0\xff\xff", 6)));
  const auto message = reader.Next<GuestMessage>();
  ASSERT_FALSE(message.ok());
  EXPECT_THAT(message.error().message, HasSubstr("plugpull.GuestMessage"));
}

GuestRequest Sync() {
  GuestRequest request;
  request.mutable_sync_all();
  return request;
}

TEST(Call, GivesAnswerAndProgressInOrder) {
  FakeScript script;
  script.on_request = [](const GuestRequest& request) {
    EXPECT_TRUE(request.has_sync_all());
    FakeReply reply;
    for (uint32_t i = 0; i < 3; ++i) reply.progress.emplace_back().set_workload(i);
    reply.answer.set_output("done");
    return reply;
  };
  FakeMachine machine(script);
  const auto hello = machine.WaitForHello(os::Deadline::After(Millis(1000)));
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello->kernel_release(), "6.1.0-fake");
  std::vector<uint32_t> seen;
  const auto answer = Call(machine, Sync(), Millis(1000),
                           [&](const Progress& progress) { seen.push_back(progress.workload()); });
  ASSERT_TRUE(answer.ok()) << answer.error().ToString();
  EXPECT_EQ(answer->output(), "done");
  EXPECT_EQ(seen, (std::vector<uint32_t>{0, 1, 2}));
}

TEST(Call, AnswerWithAnErrorIsAValue) {
  FakeScript script;
  script.on_request = [](const GuestRequest&) {
    FakeReply reply;
    reply.answer.mutable_error()->set_message("mount said EINVAL");
    return reply;
  };
  FakeMachine machine(script);
  ASSERT_TRUE(machine.WaitForHello(os::Deadline::After(Millis(1000))).ok());
  const auto answer = Call(machine, Sync(), Millis(1000));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->error().message(), "mount said EINVAL");
}

TEST(Call, HangEndsAtTheDeadline) {
  FakeScript script;
  script.on_request = [](const GuestRequest&) {
    FakeReply reply;
    reply.fate = FakeReply::Fate::kHang;
    return reply;
  };
  FakeMachine machine(script);
  ASSERT_TRUE(machine.WaitForHello(os::Deadline::After(Millis(1000))).ok());
  const auto start = std::chrono::steady_clock::now();
  const auto answer = Call(machine, Sync(), Millis(80));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code, ErrorCode::kGuest);
  EXPECT_GE(std::chrono::steady_clock::now() - start, Millis(75));
}

TEST(Call, EndlessProgressEndsAtTheDeadline) {
  class Chatterbox : public Machine {
   public:
    Result<Hello> WaitForHello(const os::Deadline&) override { return Hello(); }
    Status Send(const GuestRequest&) override { return OkStatus(); }
    Result<GuestMessage> Receive(const os::Deadline&) override {
      GuestMessage message;
      message.mutable_progress();
      return message;
    }
    Status WaitForEnd(const os::Deadline&) override { return OkStatus(); }
  };
  Chatterbox machine;
  const auto answer = Call(machine, Sync(), Millis(50));
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.error().message, HasSubstr("sync_all"));
}

TEST(Call, PanicAndEarlyEndAreGuestErrors) {
  for (const auto fate : {FakeReply::Fate::kPanic, FakeReply::Fate::kEnd}) {
    FakeScript script;
    script.on_request = [fate](const GuestRequest&) {
      FakeReply reply;
      reply.progress.resize(1);
      reply.fate = fate;
      return reply;
    };
    FakeMachine machine(script);
    ASSERT_TRUE(machine.WaitForHello(os::Deadline::After(Millis(1000))).ok());
    int progress = 0;
    const auto answer = Call(machine, Sync(), Millis(60'000), [&](const Progress&) { ++progress; });
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, ErrorCode::kGuest);
    EXPECT_EQ(progress, 1);  // what came before the end is not lost
    EXPECT_FALSE(Call(machine, Sync(), Millis(60'000)).ok());
  }
}

// Answers with ids as given, whatever is asked.
class WrongIds : public Machine {
 public:
  explicit WrongIds(std::vector<int64_t> offsets) : offsets_(std::move(offsets)) {}
  Result<Hello> WaitForHello(const os::Deadline&) override { return Hello(); }
  Status Send(const GuestRequest& request) override {
    id_ = request.id();
    return OkStatus();
  }
  Result<GuestMessage> Receive(const os::Deadline&) override {
    if (offsets_.empty()) return GuestError("nothing more");
    const auto message = AnswerMessage(id_ + offsets_.front(), "answer");
    offsets_.erase(offsets_.begin());
    return message;
  }
  Status WaitForEnd(const os::Deadline&) override { return OkStatus(); }

 private:
  std::vector<int64_t> offsets_;
  uint64_t id_ = 0;
};

TEST(Call, LateAnswersAreDroppedAndAnswersFromTheFutureRefused) {
  WrongIds late({-1, 0});
  ASSERT_TRUE(Call(late, Sync(), Millis(1000)).ok());  // so that there is an id before
  WrongIds late_again({-1, 0});
  EXPECT_TRUE(Call(late_again, Sync(), Millis(1000)).ok());
  WrongIds early({5});
  const auto answer = Call(early, Sync(), Millis(1000));
  ASSERT_FALSE(answer.ok());
  EXPECT_THAT(answer.error().message, HasSubstr("where the answer to request"));
}

TEST(FakeMachine, EndsAfterPowerOff) {
  FakeMachine machine({});
  ASSERT_TRUE(machine.WaitForHello(os::Deadline::After(Millis(1000))).ok());
  EXPECT_FALSE(machine.WaitForEnd(os::Deadline::After(Millis(10))).ok());
  GuestRequest off;
  off.mutable_power_off();
  ASSERT_TRUE(Call(machine, off, Millis(1000)).ok());
  EXPECT_TRUE(machine.WaitForEnd(os::Deadline::After(Millis(10))).ok());
  EXPECT_EQ(machine.requests().size(), 1u);
}

}  // namespace
}  // namespace plugpull::vm
