// SPDX-License-Identifier: Apache-2.0
// When a kubelet calls what, with a clock of the test's own; and what a mock's script says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "vm/guest/csi/call_plan.h"
#include "vm/guest/csi/mock_script.h"

namespace plugpull::csi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Millis kFirst{500};
constexpr Millis kMax{122'000};

// Carries out all that is due, with the codes in turn (OK when there are no more).
std::vector<std::string> Drive(CallPlan& plan, int64_t& now_ms, std::vector<RpcCode> codes) {
  std::vector<std::string> calls;
  size_t next = 0;
  while (const auto due = plan.NextDue()) {
    now_ms = std::max(now_ms, *due);
    for (const PlannedCall& call : plan.TakeDue(now_ms)) {
      const RpcCode code = next < codes.size() ? codes[next++] : RpcCode::kOk;
      calls.push_back(std::to_string(now_ms) + " " + MethodName(call.method) + " " +
                      std::to_string(call.attempt));
      plan.Done(call.volume, code, now_ms);
    }
  }
  return calls;
}

TEST(BackoffTest, PausesDoubleUpToTwoMinutesAndTwoSeconds) {
  Backoff backoff(kFirst, kMax);
  std::vector<int64_t> pauses;
  for (int i = 0; i < 11; ++i) pauses.push_back(backoff.Next().count());
  EXPECT_THAT(pauses, ElementsAre(500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 122000, 122000,
                                  122000));
  backoff.Reset();
  EXPECT_EQ(backoff.Next(), kFirst);
}

TEST(CallPlanTest, CallsAreMadeAtTheTimesOfAKubelet) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  const auto calls = Drive(plan, now_ms, std::vector<RpcCode>(10, RpcCode::kUnavailable));
  EXPECT_THAT(calls, ElementsAre("0 NodeStageVolume 1", "500 NodeStageVolume 2",
                                 "1500 NodeStageVolume 3", "3500 NodeStageVolume 4",
                                 "7500 NodeStageVolume 5", "15500 NodeStageVolume 6",
                                 "31500 NodeStageVolume 7", "63500 NodeStageVolume 8",
                                 "127500 NodeStageVolume 9", "249500 NodeStageVolume 10",
                                 "371500 NodeStageVolume 11", "371500 NodePublishVolume 1"));
  EXPECT_TRUE(plan.IsSettled(0));
  EXPECT_TRUE(plan.Succeeded(0));
  EXPECT_EQ(plan.Calls(0), 12U);
}

// What is staged is not staged again; the pause goes on growing until the volume is published.
TEST(CallPlanTest, AFailedPublishDoesNotStageAgain) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {RpcCode::kInternal, RpcCode::kOk, RpcCode::kInternal}),
              ElementsAre("0 NodeStageVolume 1", "500 NodeStageVolume 2", "500 NodePublishVolume 1",
                          "1500 NodePublishVolume 2"));
  plan.Begin(0, Action::kUnpublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {RpcCode::kInternal}),
              ElementsAre("1500 NodeUnpublishVolume 1", "2000 NodeUnpublishVolume 2",
                          "2000 NodeUnstageVolume 1"));
}

TEST(CallPlanTest, WithoutTheCapabilityNothingIsStaged) {
  CallPlan plan(1, kFirst, kMax, false);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}), ElementsAre("0 NodePublishVolume 1"));
  plan.Begin(0, Action::kUnpublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}), ElementsAre("0 NodeUnpublishVolume 1"));
}

TEST(CallPlanTest, RepeatsWhatSucceededLast) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kRepeat, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}), IsEmpty());
  EXPECT_TRUE(plan.IsSettled(0));
  plan.Begin(0, Action::kPublish, 0, now_ms);
  Drive(plan, now_ms, {RpcCode::kAborted});
  for (int i = 0; i < 2; ++i) {
    plan.Begin(0, Action::kRepeat, 0, 9000);
    now_ms = 9000;
    EXPECT_THAT(Drive(plan, now_ms, {}),
                ElementsAre("9000 NodeStageVolume 1", "9000 NodePublishVolume 1"));
  }
}

TEST(CallPlanTest, AKubeletThatWasRestartedPublishesWhatShallBePublished) {
  CallPlan plan(2, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  plan.Begin(1, Action::kPublish, 0, now_ms);
  Drive(plan, now_ms, {});
  plan.Begin(1, Action::kUnpublish, 0, now_ms);
  Drive(plan, now_ms, {});
  plan.Begin(0, Action::kRestart, 0, now_ms);
  plan.Begin(1, Action::kRestart, 0, now_ms);
  EXPECT_TRUE(plan.IsSettled(1));
  EXPECT_THAT(Drive(plan, now_ms, {}), ElementsAre("0 NodeStageVolume 1", "0 NodePublishVolume 1"));
}

// pkg/volume/csi/csi_client.go, isFinalError.
TEST(CallPlanTest, WhatFailedForGoodNeedsNoCleaningUp) {
  struct Case {
    RpcCode code;
    bool final;
  };
  for (const Case& one :
       {Case{RpcCode::kInternal, true}, Case{RpcCode::kFailedPrecondition, true},
        Case{RpcCode::kInvalidArgument, true}, Case{RpcCode::kDeadlineExceeded, false},
        Case{RpcCode::kUnavailable, false}, Case{RpcCode::kAborted, false},
        Case{RpcCode::kCancelled, false}, Case{RpcCode::kResourceExhausted, false}}) {
    CallPlan plan(1, kFirst, kMax, true);
    plan.Begin(0, Action::kPublish, 0, 0);
    ASSERT_EQ(plan.TakeDue(0).size(), 1u);
    plan.Done(0, one.code, 0);
    plan.Begin(0, Action::kUnpublish, 0, 0);
    int64_t now_ms = 0;
    if (one.final) {
      EXPECT_THAT(Drive(plan, now_ms, {}), IsEmpty()) << static_cast<int>(one.code);
    } else {
      EXPECT_THAT(Drive(plan, now_ms, {}), ElementsAre("0 NodeUnstageVolume 1"))
          << static_cast<int>(one.code);
    }
  }
}

TEST(CallPlanTest, AFinalErrorBehindSuccessLeavesWhatWasStaged) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  Drive(plan, now_ms, {});
  plan.Begin(0, Action::kRepeat, 1, now_ms);
  ASSERT_EQ(plan.TakeDue(now_ms).size(), 1u);
  plan.Done(0, RpcCode::kInternal, now_ms);
  plan.Begin(0, Action::kUnpublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}),
              ElementsAre("0 NodeUnpublishVolume 1", "0 NodeUnstageVolume 1"));
}

TEST(CallPlanTest, AKubeletThatWasRestartedCleansUpWhatNobodyWants) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  Drive(plan, now_ms, {});
  plan.Begin(0, Action::kUnpublish, 0, now_ms);
  ASSERT_EQ(plan.TakeDue(now_ms).size(), 1u);
  plan.Done(0, RpcCode::kInternal, now_ms);
  plan.Begin(0, Action::kRestart, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}),
              ElementsAre("0 NodeUnpublishVolume 1", "0 NodeUnstageVolume 1"));
}

TEST(CallPlanTest, AForcedDetachCallsNothing) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kPublish, 0, now_ms);
  Drive(plan, now_ms, {});
  plan.Begin(0, Action::kForceDetach, 0, now_ms);
  EXPECT_TRUE(plan.IsSettled(0));
  EXPECT_FALSE(plan.NextDue());
  plan.Begin(0, Action::kRestart, 0, now_ms);
  EXPECT_FALSE(plan.NextDue());
  plan.Begin(0, Action::kUnpublish, 0, now_ms);
  EXPECT_THAT(Drive(plan, now_ms, {}), IsEmpty());
}

TEST(CallPlanTest, GivesUpAfterSoManyCalls) {
  CallPlan plan(1, kFirst, kMax, true);
  int64_t now_ms = 0;
  plan.Begin(0, Action::kExpand, 3, now_ms);
  EXPECT_THAT(
      Drive(plan, now_ms, std::vector<RpcCode>(9, RpcCode::kInternal)),
      ElementsAre("0 NodeExpandVolume 1", "500 NodeExpandVolume 2", "1500 NodeExpandVolume 3"));
  EXPECT_TRUE(plan.IsSettled(0));
  EXPECT_FALSE(plan.Succeeded(0));
}

// A call that hangs keeps its own volume waiting, and no other.
TEST(CallPlanTest, OneCallAtATimeForEachVolume) {
  CallPlan plan(2, kFirst, kMax, true);
  plan.Begin(0, Action::kPublish, 0, 0);
  plan.Begin(1, Action::kPublish, 0, 0);
  EXPECT_THAT(plan.TakeDue(0),
              ElementsAre(PlannedCall{0, Method::kStage, 1}, PlannedCall{1, Method::kStage, 1}));
  EXPECT_THAT(plan.TakeDue(100'000), IsEmpty());
  plan.Done(1, RpcCode::kOk, 100'000);
  EXPECT_THAT(plan.TakeDue(100'000), ElementsAre(PlannedCall{1, Method::kPublish, 1}));
  // What is under way ends before what takes its place begins.
  plan.Begin(0, Action::kUnpublish, 0, 100'000);
  EXPECT_FALSE(plan.IsSettled(0));
  EXPECT_THAT(plan.TakeDue(100'000), IsEmpty());
  plan.Done(0, RpcCode::kDeadlineExceeded, 120'000);
  EXPECT_THAT(plan.TakeDue(120'000), ElementsAre(PlannedCall{0, Method::kUnstage, 1}));
}

TEST(MockScriptTest, CountsCallsByMethodAndVolume) {
  auto script = MockScript::Parse(
      "# a comment\n"
      "name d\n"
      "without EXPAND_VOLUME\n"
      "NodeStageVolume a 1-2 UNAVAILABLE\n"
      "NodeStageVolume * 2- INTERNAL 250 no luck  # comment\n"
      "NodeGetVolumeStats * 1 ABNORMAL 0 bad\n");
  ASSERT_TRUE(script.ok()) << script.error().ToString();
  EXPECT_EQ(script->name(), "d");
  EXPECT_FALSE(script->Has("EXPAND_VOLUME"));
  EXPECT_TRUE(script->Has("GET_VOLUME_STATS"));
  EXPECT_EQ(script->Next("NodeStageVolume", "a").code, 14);
  EXPECT_EQ(script->Next("NodeStageVolume", "b").code, 0);
  EXPECT_EQ(script->Next("NodeStageVolume", "a").code, 14);
  const MockAnswer third = script->Next("NodeStageVolume", "a");
  EXPECT_EQ(third.code, 13);
  EXPECT_EQ(third.delay, Millis(250));
  EXPECT_EQ(third.message, "no luck");
  EXPECT_TRUE(script->Next("NodeGetVolumeStats", "a").abnormal);
}

TEST(MockScriptTest, RefusesWhatMakesNoSense) {
  for (const char* line :
       {"NodeStageVolume a 1", "NodeStageVolume a 0 OK", "NodeStageVolume a 3-1 OK",
        "NodeStageVolume a x OK", "NodeStageVolume a 1 NO_CODE", "NodeStageVolume a 1 OK fast",
        "NodeStageVolume a 1 OK 99999999"}) {
    const auto script = MockScript::Parse(std::string("\n") + line);
    ASSERT_FALSE(script.ok()) << line;
    EXPECT_THAT(script.error().ToString(), HasSubstr("line 2")) << line;
  }
}

}  // namespace
}  // namespace plugpull::csi
