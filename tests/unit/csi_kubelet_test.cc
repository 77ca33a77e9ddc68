// SPDX-License-Identifier: Apache-2.0
// The kubelet against a mock plugin: real gRPC over a unix socket, in a temporary folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "framework/base/rpc_code.h"
#include "framework/os/fd.h"
#include "framework/proto/guest.pb.h"
#include "vm/framing.h"
#include "vm/guest/csi/kubelet.h"
#include "vm/guest/csi/mock_node.h"

namespace plugpull::csi {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class KubeletTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = ::testing::TempDir() + "csi_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    agent_.set_name("a");
    agent_.mutable_csi()->set_endpoint("unix://" + folder_ + "/csi.sock");
    agent_.mutable_csi()->set_backoff_first_ms(2);
    agent_.mutable_csi()->set_backoff_max_ms(4);
    agent_.mutable_csi()->set_wait_for_step(true);
    agent_.mutable_csi()->set_call_timeout_ms(20'000);
  }
  void TearDown() override {
    commands_.Reset();
    if (kubelet_.joinable()) kubelet_.join();
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  void AddVolume(const std::string& disk, const std::string& option = "") {
    AgentVolume& volume = *agent_.add_volume();
    volume.set_disk(disk);
    volume.set_at(folder_ + "/pods/" + disk);
    if (!option.empty()) volume.add_option(option);
    KubeletVolume to;
    to.set_disk(disk);
    to.set_volume_id("pvc-" + disk);
    to.set_device("/dev/none");
    to.set_staging_path(folder_ + "/plugins/" + disk);
    to.set_target_path(volume.at());
    volumes_.push_back(to);
  }

  void Start(const std::string& script) {
    auto parsed = MockScript::Parse(script);
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    mock_.emplace(*std::move(parsed));
    auto server = Serve(agent_.csi().endpoint(), mock_->identity(), mock_->node());
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = *std::move(server);
    StartKubelet();
  }
  void StartKubelet() {
    int commands[2];
    int reports[2];
    ASSERT_EQ(::pipe(commands), 0);
    ASSERT_EQ(::pipe(reports), 0);
    commands_ = os::Fd(commands[1]);
    reports_ = os::Fd(reports[0]);
    kubelet_ = std::thread([in = commands[0], out = reports[1]] {
      const os::Fd in_fd(in);
      const os::Fd out_fd(out);
      const Status served = RunKubelet(in, out);
      EXPECT_TRUE(served.ok()) << served.error().ToString();
    });
    KubeletCommand command;
    *command.mutable_agent() = agent_;
    command.mutable_volume()->Assign(volumes_.begin(), volumes_.end());
    Send(command);
  }
  void Send(const KubeletCommand& command) {
    const auto frame = vm::EncodeFrame(command);
    ASSERT_TRUE(frame.ok());
    ASSERT_TRUE(os::WriteAll(commands_.get(),
                             {reinterpret_cast<const uint8_t*>(frame->data()), frame->size()})
                    .ok());
  }
  // Its outcome; the calls that were told meanwhile are in `told_`.
  CsiOutcome Do(CsiStep step, uint32_t limit_ms = 30'000) {
    KubeletCommand command;
    step.set_agent("a");
    *command.mutable_step() = step;
    command.set_id(++id_);
    command.set_limit_ms(limit_ms);
    Send(command);
    told_.clear();
    for (;;) {
      auto report = frames_.Next<KubeletReport>();
      if (!report.ok()) {
        ADD_FAILURE() << report.error().ToString();
        return {};
      }
      if (*report && (*report)->has_outcome()) {
        EXPECT_EQ((*report)->outcome().id(), id_);
        return (*report)->outcome();
      }
      if (*report) {
        const CsiCall& call = (*report)->call();
        told_.push_back(call.method() + " " + call.volume() + " " + std::to_string(call.attempt()) +
                        " " + RpcCodeName(call.code()));
        continue;
      }
      uint8_t buffer[4096];
      const ssize_t count = ::read(reports_.get(), buffer, sizeof buffer);
      if (count <= 0) {
        ADD_FAILURE() << "the kubelet has ended";
        return {};
      }
      frames_.Append(std::span<const uint8_t>(buffer, static_cast<size_t>(count)));
    }
  }
  static CsiStep Publish() {
    CsiStep step;
    step.set_publish(true);
    return step;
  }

  std::string folder_;
  AgentStep agent_;
  std::vector<KubeletVolume> volumes_;
  std::optional<MockNode> mock_;
  std::unique_ptr<grpc::Server> server_;
  std::thread kubelet_;
  os::Fd commands_;
  os::Fd reports_;
  vm::FrameReader frames_;
  uint64_t id_ = 0;
  std::vector<std::string> told_;
};

TEST_F(KubeletTest, RepeatsWhatFailsUntilItSucceeds) {
  AddVolume("vol", "noatime");
  Start("NodeStageVolume pvc-vol 1-3 UNAVAILABLE\nNodePublishVolume * 1 INTERNAL 0 no luck\n");
  const CsiOutcome outcome = Do(Publish());
  EXPECT_TRUE(outcome.done());
  EXPECT_EQ(outcome.code(), 0);
  EXPECT_EQ(outcome.calls(), 6U);
  EXPECT_THAT(told_,
              ElementsAre("GetPluginInfo  1 OK", "NodeGetCapabilities  1 OK",
                          "NodeStageVolume vol 1 UNAVAILABLE", "NodeStageVolume vol 2 UNAVAILABLE",
                          "NodeStageVolume vol 3 UNAVAILABLE", "NodeStageVolume vol 4 OK",
                          "NodePublishVolume vol 1 INTERNAL", "NodePublishVolume vol 2 OK"));
  const auto calls = mock_->Calls();
  ASSERT_EQ(calls.size(), 8U);
  EXPECT_THAT(calls[2].request,
              AllOf(HasSubstr("volume_id: \"pvc-vol\""), HasSubstr("key: \"serial\""),
                    HasSubstr("fs_type: \"ext4\" mount_flags: \"noatime\""),
                    HasSubstr("mode: SINGLE_NODE_WRITER"),
                    HasSubstr("staging_target_path: \"" + folder_ + "/plugins/vol\"")));
  EXPECT_THAT(calls[6].request, HasSubstr("target_path: \"" + folder_ + "/pods/vol\""));
  EXPECT_TRUE(std::filesystem::is_directory(folder_ + "/plugins/vol"));
  EXPECT_TRUE(std::filesystem::is_directory(folder_ + "/pods"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/pods/vol"));
}

TEST_F(KubeletTest, GoesThroughTheLifeOfAVolume) {
  AddVolume("vol");
  Start("NodeGetVolumeStats * 2- ABNORMAL 0 bad blocks\nNodeExpandVolume * 1- OUT_OF_RANGE\n");
  Do(Publish());
  CsiStep step;
  step.set_repeat(true);
  EXPECT_TRUE(Do(step).done());
  EXPECT_THAT(told_, ElementsAre("NodeStageVolume vol 1 OK", "NodePublishVolume vol 1 OK"));
  step.set_stats(true);
  EXPECT_FALSE(Do(step).abnormal());
  const CsiOutcome ill = Do(step);
  EXPECT_TRUE(ill.abnormal());
  EXPECT_EQ(ill.message(), "bad blocks");
  step.set_expand(true);
  step.set_calls_max(2);
  const CsiOutcome refused = Do(step);
  EXPECT_FALSE(refused.done());
  EXPECT_EQ(refused.code(), static_cast<int>(RpcCode::kOutOfRange));
  EXPECT_EQ(refused.calls(), 2U);
  step.clear_calls_max();
  step.set_restart(true);
  Do(step);
  EXPECT_THAT(told_, ElementsAre("NodeStageVolume vol 1 OK", "NodePublishVolume vol 1 OK"));
  step.set_unpublish(true);
  Do(step);
  EXPECT_THAT(told_, ElementsAre("NodeUnpublishVolume vol 1 OK", "NodeUnstageVolume vol 1 OK"));
  step.set_force_detach(true);
  EXPECT_TRUE(Do(step).done());
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(KubeletTest, ACallThatTakesTooLongIsEnded) {
  agent_.mutable_csi()->set_call_timeout_ms(300);
  AddVolume("slow");
  AddVolume("fast");
  Start("NodeStageVolume pvc-slow 1- OK 1000\n");
  CsiStep step = Publish();
  step.set_calls_max(2);
  const CsiOutcome outcome = Do(step);
  EXPECT_FALSE(outcome.done());
  EXPECT_EQ(outcome.code(), static_cast<int>(RpcCode::kDeadlineExceeded));
  EXPECT_EQ(std::set<std::string>(told_.begin(), told_.end()),
            (std::set<std::string>{"GetPluginInfo  1 OK", "NodeGetCapabilities  1 OK",
                                   "NodeStageVolume slow 1 DEADLINE_EXCEEDED",
                                   "NodeStageVolume slow 2 DEADLINE_EXCEEDED",
                                   "NodeStageVolume fast 1 OK", "NodePublishVolume fast 1 OK"}));
}

TEST_F(KubeletTest, RawBlockAndAPluginThatDoesNotStage) {
  agent_.mutable_csi()->set_raw_block(true);
  agent_.mutable_csi()->add_publish_context("path={device}");
  agent_.mutable_csi()->add_volume_context("handle={serial} of {disk}");
  AddVolume("vol");
  Start("without STAGE_UNSTAGE_VOLUME\n");
  EXPECT_TRUE(Do(Publish()).done());
  const auto calls = mock_->Calls();
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[2].method, "NodePublishVolume");
  EXPECT_THAT(calls[2].request,
              AllOf(HasSubstr("block {"), HasSubstr("value: \"/dev/none\""),
                    HasSubstr("value: \"pvc-vol of vol\""), testing::Not(HasSubstr("\"serial\""))));
}

// Nobody listens, then a plugin starts, then it is gone again.
TEST_F(KubeletTest, APluginThatIsGoneIsUnavailable) {
  agent_.mutable_csi()->set_call_timeout_ms(2'000);
  AddVolume("vol");
  Start("");
  Do(Publish());
  server_->Shutdown();
  server_.reset();
  CsiStep step;
  step.set_stats(true);
  step.set_calls_max(3);
  const CsiOutcome outcome = Do(step);
  EXPECT_EQ(outcome.code(), static_cast<int>(RpcCode::kUnavailable)) << outcome.message();
  EXPECT_EQ(outcome.calls(), 3U);
  auto server = Serve(agent_.csi().endpoint(), mock_->identity(), mock_->node());
  ASSERT_TRUE(server.ok());
  server_ = *std::move(server);
  EXPECT_TRUE(Do(step).done());
}

}  // namespace
}  // namespace plugpull::csi
