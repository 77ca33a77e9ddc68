// SPDX-License-Identifier: Apache-2.0
// The QMP client against a peer that follows a script.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "framework/os/stream.h"
#include "vm/qmp/qmp.h"

namespace plugpull::vm {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kGreeting[] = R"({"QMP": {"version": {}, "capabilities": []}})";

// The other end of the socket.
class Peer {
 public:
  explicit Peer(os::Fd socket) : socket_(std::move(socket)) {}
  void Say(const std::string& line) { SayRaw(line + "\r\n"); }
  void SayRaw(const std::string& text) {
    (void)os::SendAll(socket_.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                      Millis(5000));
  }
  // The next command; null when the client is gone.
  json Hear() {
    for (;;) {
      const size_t end = heard_.find('\n');
      if (end != std::string::npos) {
        const json command = json::parse(heard_.substr(0, end));
        heard_.erase(0, end + 1);
        return command;
      }
      uint8_t chunk[4096];
      const auto n = os::ReadSome(socket_.get(), chunk, os::Deadline::After(Millis(5000)));
      if (!n.ok() || !*n || **n == 0) return nullptr;
      heard_.append(reinterpret_cast<const char*>(chunk), **n);
    }
  }
  void Return(const json& command, const json& value) {
    Say(json{{"return", value}, {"id", command["id"]}}.dump());
  }
  void Hang() { (void)os::WaitReadable(socket_.get(), os::Deadline::After(Millis(5000))); }

 private:
  os::Fd socket_;
  std::string heard_;
};

class Scripted {
 public:
  explicit Scripted(std::function<void(Peer&)> script) {
    auto pair = os::MakeSocketPair();
    PP_CHECK(pair.ok());
    ours_ = std::move(pair->ours);
    thread_ = std::thread([script = std::move(script), theirs = std::move(pair->theirs)]() mutable {
      Peer peer(std::move(theirs));
      script(peer);
    });
  }
  ~Scripted() { thread_.join(); }
  os::Fd ours() { return std::move(ours_); }

 private:
  os::Fd ours_;
  std::thread thread_;
};

void Greet(Peer& peer) {
  peer.Say(kGreeting);
  peer.Return(peer.Hear(), json::object());
}

os::Deadline Soon() { return os::Deadline::After(Millis(5000)); }

TEST(Qmp, CommandsAndEvents) {
  Scripted scripted([](Peer& peer) {
    Greet(peer);
    const json command = peer.Hear();
    EXPECT_EQ(command["execute"], "device_add");
    EXPECT_EQ(command["arguments"]["driver"], "virtio-blk-pci");
    peer.Say(R"({"event": "RESUME"})");
    peer.Say(R"({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}})");
    peer.Return(command, {{"x", 1}});
  });
  auto client = QmpClient::Connect(scripted.ours(), Soon());
  ASSERT_TRUE(client.ok()) << client.error().ToString();
  const auto value = client->Execute("device_add", {{"driver", "virtio-blk-pci"}}, Soon());
  ASSERT_TRUE(value.ok()) << value.error().ToString();
  EXPECT_EQ((*value)["x"], 1);
  const auto event = client->WaitEvent("SHUTDOWN", Soon());
  ASSERT_TRUE(event.ok());
  ASSERT_TRUE(event->has_value());
  EXPECT_EQ((*event)->data["reason"], "guest-reset");
  EXPECT_EQ(client->TakeEvents().size(), 1u);
  const auto none = client->WaitEvent("SHUTDOWN", Soon());
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->has_value());
  EXPECT_TRUE(client->closed());
}

TEST(Qmp, RefusalCarriesTheWords) {
  Scripted scripted([](Peer& peer) {
    Greet(peer);
    const json command = peer.Hear();
    peer.Say(json{{"id", command["id"]},
                  {"error", {{"class", "GenericError"}, {"desc", "no such device"}}}}
                 .dump());
  });
  auto client = QmpClient::Connect(scripted.ours(), Soon());
  ASSERT_TRUE(client.ok());
  const auto value = client->Execute("device_del", {{"id", "x"}}, Soon());
  ASSERT_FALSE(value.ok());
  EXPECT_EQ(value.error().code, ErrorCode::kEnvironment);
  EXPECT_THAT(value.error().message, HasSubstr("device_del: no such device"));
}

TEST(Qmp, SilenceEndsAtTheDeadlineAndTheLateAnswerIsDropped) {
  Scripted scripted([](Peer& peer) {
    Greet(peer);
    const json first = peer.Hear();
    const json second = peer.Hear();
    peer.Return(first, "first");
    peer.Return(second, "second");
  });
  auto client = QmpClient::Connect(scripted.ours(), Soon());
  ASSERT_TRUE(client.ok());
  const auto first = client->Execute("stop", {}, os::Deadline::After(Millis(50)));
  ASSERT_FALSE(first.ok());
  EXPECT_THAT(first.error().message, HasSubstr("in time"));
  const auto second = client->Execute("cont", {}, Soon());
  ASSERT_TRUE(second.ok()) << second.error().ToString();
  EXPECT_EQ(*second, "second");
}

TEST(Qmp, PeersThatAreNoQemuAreEnvironmentErrors) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "closed its QMP socket"},
      {"hello\n", "no JSON object"},
      {"[1,2]\n", "no JSON object"},
      {"{\"a\": 1}\n", "no QMP greeting"},
      {std::string("{\"QMP\"") + "\n", "no JSON object"},
  };
  for (const auto& [said, expected] : cases) {
    Scripted scripted([&said = said](Peer& peer) { peer.SayRaw(said); });
    const auto client = QmpClient::Connect(scripted.ours(), Soon());
    ASSERT_FALSE(client.ok());
    EXPECT_EQ(client.error().code, ErrorCode::kEnvironment);
    EXPECT_THAT(client.error().message, HasSubstr(expected));
  }
}

TEST(Qmp, EndlessLineIsRefused) {
  Scripted scripted([](Peer& peer) {
    const std::string much(1 << 20, 'x');
    for (int i = 0; i < 8; ++i) peer.SayRaw(much);
  });
  os::Fd ours = scripted.ours();
  const auto client = QmpClient::Connect(std::move(ours), Soon());
  ASSERT_FALSE(client.ok());
  EXPECT_THAT(client.error().message, HasSubstr("longer than"));
}

TEST(Qmp, EndlessEventsEndAtTheDeadline) {
  Scripted scripted([](Peer& peer) {
    Greet(peer);
    (void)peer.Hear();
    for (int i = 0; i < 200'000; ++i) peer.Say(R"({"event": "BLOCK_IO_ERROR"})");
  });
  {
    auto client = QmpClient::Connect(scripted.ours(), Soon());
    ASSERT_TRUE(client.ok());
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(client->Execute("cont", {}, os::Deadline::After(Millis(100))).ok());
    EXPECT_LT(std::chrono::steady_clock::now() - start, Millis(4000));
    EXPECT_LE(client->TakeEvents().size(), kQmpEventsMax);
  }
}

}  // namespace
}  // namespace plugpull::vm
