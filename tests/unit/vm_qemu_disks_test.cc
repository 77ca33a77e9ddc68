// SPDX-License-Identifier: Apache-2.0
// What QEMU is told of faults. That it does what is meant is shown by scenarios/faults in a guest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "vm/qemu/command_line.h"
#include "vm/qemu/qemu_disks.h"

namespace plugpull::vm {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST(BlkdebugNodeTest, TheNthRequestIsCountedInStates) {
  RequestFault fault;
  fault.op = RequestFault::Op::kWrite;
  fault.nth = 3;
  fault.error_number = EIO;
  const json node = BlkdebugNode(fault, "fault1", "file0");
  EXPECT_EQ(node["driver"], "blkdebug");
  EXPECT_EQ(node["image"], "file0");
  EXPECT_EQ(node["set-state"], json::parse(R"([{"event": "write_aio", "state": 1, "new_state": 2},
                            {"event": "write_aio", "state": 2, "new_state": 3}])"));
  EXPECT_EQ(node["inject-error"],
            json::parse(R"([{"event": "write_aio", "state": 3, "iotype": "write", "errno": 5,
                             "once": true}])"));
  fault.nth = 1;
  fault.once = false;
  fault.op = RequestFault::Op::kRead;
  const json first = BlkdebugNode(fault, "fault2", "file0");
  EXPECT_FALSE(first.contains("set-state"));
  EXPECT_EQ(first["inject-error"][0]["event"], "read_aio");
  EXPECT_EQ(first["inject-error"][0]["once"], false);
}

TEST(BlkdebugNodeTest, ASectorIsWatchedFromTheStart) {
  RequestFault fault;
  fault.sector = 33;
  fault.error_number = EIO;
  const json node = BlkdebugNode(fault, "fault1", "file2");
  EXPECT_FALSE(node.contains("set-state"));
  EXPECT_EQ(node["inject-error"][0]["event"], "none");
  EXPECT_EQ(node["inject-error"][0]["sector"], 33);
  EXPECT_EQ(node["inject-error"][0]["iotype"], "read");
}

TEST(BlkdebugNodeTest, FlushesReachIt) {
  RequestFault fault;
  fault.op = RequestFault::Op::kFlush;
  const json node = BlkdebugNode(fault, "fault1", "file0");
  EXPECT_EQ(node["cache"]["no-flush"], false);
  EXPECT_EQ(node["inject-error"][0]["event"], "flush_to_os");
  EXPECT_EQ(node["inject-error"][0]["iotype"], "flush");
}

TEST(BlkdebugNodeTest, EachFlushOfManyFailsByARuleOfItsOwn) {
  RequestFault fault;
  fault.op = RequestFault::Op::kFlush;
  fault.nth = 2;
  fault.once = false;
  fault.error_number = EIO;
  const json node = BlkdebugNode(fault, "fault1", "file0");
  const json& rules = node["inject-error"];
  ASSERT_EQ(rules.size(), 2000u);
  ASSERT_EQ(node["set-state"].size(), 2001u);
  for (size_t i = 0; i < rules.size(); ++i) {
    EXPECT_EQ(rules[i]["state"], i + 2);
    EXPECT_EQ(rules[i]["once"], true);
    EXPECT_EQ(node["set-state"][i]["new_state"], i + 2);
  }
  EXPECT_EQ(node["set-state"].back()["new_state"], 2002);  // where no rule is left
}

TEST(DiskNodesTest, TheMachineStartsWithTheNodesThatAreChangedLater) {
  MachineOptions options;
  options.accelerator = "tcg";
  options.disks = {{"a", 5}, {"b", 6}};
  const auto arguments = QemuArguments(options);
  ASSERT_TRUE(arguments.ok());
  for (size_t disk = 0; disk < 2; ++disk) {
    json expected = RawNodeOptions(disk);
    bool found = false;
    for (const std::string& argument : *arguments) {
      if (argument.front() != '{') continue;
      json node = json::parse(argument);
      if (node.value("node-name", "") != RawNodeName(disk)) continue;
      found = true;
      EXPECT_EQ(node["file"]["node-name"], FileNodeName(disk));
      node.erase("file");
      EXPECT_EQ(node, expected);
    }
    EXPECT_TRUE(found);
  }
}

}  // namespace
}  // namespace plugpull::vm
