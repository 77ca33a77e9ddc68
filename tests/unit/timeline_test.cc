// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <sstream>

#include "framework/os/file.h"
#include "framework/timeline/timeline_builder.h"
#include "framework/timeline/trace_line.h"

namespace plugpull::timeline {
namespace {

std::string Line(uint32_t pid, double seconds, const std::string& what) {
  return fmt::format("  some (x) prog-{}   ({:7}) [000] .N... {:13.6f}: {}", pid, pid, seconds,
                     what);
}

TimelineEvent Started(const std::string& agent, uint32_t pid) {
  TimelineEvent event;
  event.set_agent(agent);
  event.set_pid(pid);
  event.mutable_life()->set_kind(AgentLife::STARTED);
  return event;
}

TimelineEvent Attached(const std::string& disk, const std::vector<std::string>& devices) {
  TimelineEvent event;
  event.mutable_disk()->set_kind(DiskChange::ATTACHED);
  event.mutable_disk()->set_disk(disk);
  for (const std::string& device : devices) event.mutable_disk()->add_device(device);
  return event;
}

class Trace {
 public:
  void Take(uint32_t pid, const std::string& what) {
    seconds_ += 0.001;
    builder.TakeLine(Line(pid, seconds_, what));
  }
  void Note(const TimelineEvent& event) { Take(1, "tracing_mark_write: " + NoteText(event)); }
  TimelineBuilder builder;

 private:
  double seconds_ = 10;
};

TEST(TraceLine, TakesALineApart) {
  const auto line = ParseTraceLine(
      "  my (odd) name-87      (     85) [003] d..2.    14.449817: console: EXT4-fs (vda): x -> y");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->thread, 87u);
  EXPECT_EQ(line->process, 85u);
  EXPECT_EQ(line->at_ns, 14'449'817'000u);
  EXPECT_EQ(line->event, "console");
  EXPECT_EQ(line->rest, "EXT4-fs (vda): x -> y");
  const auto exit =
      ParseTraceLine("mount-9 (-------) [000] ...1. 1.000001: sys_mount -> 0xffffffea");
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->process, 9u);
  EXPECT_EQ(exit->event, "sys_mount");
  EXPECT_EQ(exit->rest, "0xffffffea");
}

TEST(TraceLine, NothingOfWhatIsNone) {
  for (const char* text : {"", "# tracer: nop", "of marker", "x-1 (1) [0",
                           "x-1 (1) [000] ..... : a: b", "x-y (1) [000] ..... 1.2: a: b", ") [",
                           "(1) [000] ..... 1.2: a: b", "x-1 (1) [000] ..... 1.2: nothing"}) {
    EXPECT_FALSE(ParseTraceLine(text)) << text;
  }
  EXPECT_EQ(ParseLost("CPU:1 [LOST 12 EVENTS]"), 12u);
  EXPECT_EQ(ParseLost("CPU:1 [LOST EVENTS]"), 1u);
  EXPECT_FALSE(ParseLost("x [LOST 12 EVENTS]"));
}

TEST(TraceLine, Fields) {
  const auto fields = FieldsOf("(f+0x0/0x1) path=\"/a b=c\" p0=0x1 a0=\"x=\" p1=0x0 a1=(fault)",
                               {"path", "p0", "a0", "p1", "a1", "none"});
  EXPECT_EQ(fields[0], "/a b=c");
  EXPECT_EQ(fields[1], "0x1");
  EXPECT_EQ(fields[2], "x=");
  EXPECT_EQ(fields[3], "0x0");
  EXPECT_FALSE(fields[4]);
  EXPECT_FALSE(fields[5]);
  EXPECT_EQ(NumberOf("0xffffffffffffffea"), -22);
  EXPECT_EQ(NumberOf("-5"), -5);
}

// Recorded in a guest with kernel 6.1: a shell that mounts, removes, fails to mount, overwrites.
TEST(TimelineBuilder, RecordedTrace) {
  const auto text =
      os::ReadFile(PLUGPULL_SOURCE_DIR "/tests/golden/timeline/mounts_6.1.trace", Bytes(1 << 20));
  ASSERT_TRUE(text.ok());
  TimelineBuilder builder;
  builder.TakeLine(
      Line(1, 1, "tracing_mark_write: " + NoteText(Attached("vol", {"/dev/vda", "254:0"}))));
  builder.TakeLine(
      Line(1, 2, "tracing_mark_write: " + NoteText(Attached("bad", {"/dev/vdb", "254:16"}))));
  builder.TakeLine(Line(1, 3, "tracing_mark_write: " + NoteText(Started("sh", 81))));
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) builder.TakeLine(line);
  const Timeline timeline = builder.Finish(0, 20'000'000'000);
  EXPECT_EQ(timeline.lost_events(), 0u);

  std::vector<MountAttempt> mounts;
  std::vector<UnmountAttempt> unmounts;
  std::vector<std::string> programs;
  std::vector<std::string> written;
  int fills = 0;
  int removed = 0;
  for (const TimelineEvent& event : timeline.event()) {
    if (event.has_mount()) {
      mounts.push_back(event.mount());
      EXPECT_EQ(event.agent(), "sh");
    }
    if (event.has_unmount()) unmounts.push_back(event.unmount());
    if (event.has_program()) programs.push_back(event.program().argv(0));
    if (event.has_open_for_write()) written.push_back(event.open_for_write().disk());
    fills += event.has_superblock();
    removed += event.has_removed();
  }
  ASSERT_EQ(mounts.size(), 3u);
  EXPECT_EQ(mounts[0].disk(), "vol");
  EXPECT_EQ(mounts[0].target(), "/mnt/a");
  EXPECT_EQ(mounts[0].error_number(), 0);
  EXPECT_EQ(mounts[0].option_size(), 2);
  EXPECT_EQ(mounts[0].option(0), "noatime");
  EXPECT_EQ(mounts[0].option(1), "data=writeback");
  EXPECT_EQ(mounts[1].disk(), "bad");
  EXPECT_EQ(mounts[1].error_number(), EINVAL);
  EXPECT_EQ(mounts[2].type(), "xfs");
  EXPECT_EQ(mounts[2].error_number(), ENODEV);
  EXPECT_EQ(fills, 2);
  ASSERT_EQ(unmounts.size(), 2u);
  EXPECT_EQ(unmounts[0].disk(), "vol");
  EXPECT_EQ(unmounts[1].flags(), 2u);
  EXPECT_EQ(unmounts[1].error_number(), EINVAL);
  EXPECT_EQ(removed, 0);  // it had made what it removed
  EXPECT_EQ(written, std::vector<std::string>{"bad"});
  EXPECT_EQ(programs,
            (std::vector<std::string>{"sh", "mkdir", "mount", "mkdir", "sync", "rm", "umount",
                                      "mount", "mount", "dd", "umount", "sh", "cat"}));
}

TEST(TimelineBuilder, NewMountApi) {
  Trace trace;
  trace.Note(Attached("vol", {"/dev/vda"}));
  trace.Note(Started("a", 50));
  trace.Take(50, "fsopen: (f) type=\"ext4\"");
  trace.Take(50, "sys_fsopen -> 0x3");
  trace.Take(50, "fsconfig: (f) fd=3 cmd=1 key=\"source\" value=\"/dev/vda\"");
  trace.Take(50, "sys_fsconfig -> 0x0");
  trace.Take(50, "fsconfig: (f) fd=3 cmd=1 key=\"data\" value=\"writeback\"");
  trace.Take(50, "sys_fsconfig -> 0x0");
  trace.Take(50, "fsconfig: (f) fd=3 cmd=6 key=(fault) value=(fault)");
  trace.Take(50, "fill: (f) ret=0");
  trace.Take(50, "sys_fsconfig -> 0x0");
  trace.Take(50, "fsmount: (f) fd=3 attr=0x10");
  trace.Take(50, "sys_fsmount -> 0x4");
  trace.Take(50, "move_mount: (f) fd=4 target=\"/mnt/vol\"");
  trace.Take(50, "sys_move_mount -> 0x0");
  EXPECT_EQ(trace.builder.TakeNewMounts().size(), 1u);
  EXPECT_NE(trace.builder.LastAction("a"), 0u);
  const Timeline timeline = trace.builder.Finish(0, 1);
  int mounts = 0;
  for (const TimelineEvent& event : timeline.event()) {
    if (!event.has_mount()) continue;
    ++mounts;
    EXPECT_EQ(event.mount().api(), MountAttempt::FSCONTEXT);
    EXPECT_EQ(event.mount().disk(), "vol");
    EXPECT_EQ(event.mount().target(), "/mnt/vol");
    EXPECT_EQ(event.mount().error_number(), 0);
    ASSERT_EQ(event.mount().option_size(), 2);
    EXPECT_EQ(event.mount().option(0), "data=writeback");
    EXPECT_EQ(event.mount().option(1), "noatime");
  }
  EXPECT_EQ(mounts, 1);
}

TEST(TimelineBuilder, ChildrenBelongToTheirAgentAndOthersDoNot) {
  Trace trace;
  trace.Note(Attached("vol", {"/dev/vda", "254:0"}));
  trace.Note(Started("a", 50));
  trace.Take(50, "sched_process_fork: comm=a pid=50 child_comm=a child_pid=51");
  trace.Take(51, "sched_process_fork: comm=a pid=51 child_comm=a child_pid=52");
  trace.Take(1, "sched_process_fork: comm=i pid=1 child_comm=i child_pid=60");
  for (const uint32_t pid : {52u, 60u}) {
    trace.Take(pid,
               "execve: (f) path=\"/sbin/mkfs.ext4\" p0=0x1 a0=\"mkfs.ext4\" p1=0x2 "
               "a1=\"/dev/vda\" p2=0x0 a2=(fault)");
    trace.Take(pid,
               fmt::format("sched_process_exec: filename=/sbin/mke2fs pid={0} old_pid={0}", pid));
    trace.Take(pid, "ext4_unlink_enter: dev 254,0 ino 13 size 3 parent 12");
    trace.Take(pid, fmt::format("sched_process_exit: comm=m pid={} prio=120", pid));
  }
  const Timeline timeline = trace.builder.Finish(0, 11'000'000'000);
  int programs = 0;
  int removed = 0;
  for (const TimelineEvent& event : timeline.event()) {
    removed += event.has_removed();
    if (!event.has_program()) continue;
    ++programs;
    EXPECT_EQ(event.pid(), 52u);
    EXPECT_EQ(event.program().path(), "/sbin/mke2fs");
    EXPECT_EQ(event.program().argv_size(), 2);
    ASSERT_EQ(event.program().disk_size(), 1);
    EXPECT_EQ(event.program().disk(0), "vol");
    EXPECT_LT(event.program().end_ns(), 11'000'000'000u);
  }
  EXPECT_EQ(programs, 1);
  EXPECT_EQ(removed, 1);
}

TEST(TimelineBuilder, WhatIsLostIsCounted) {
  TimelineBuilder builder;
  builder.TakeLine("CPU:0 [LOST 7 EVENTS]");
  builder.TakeLine(Line(1, 1, "tracing_mark_write: plugpull:zz"));
  builder.AddLost(0, "nothing");
  const Timeline timeline = builder.Finish(0, 1);
  EXPECT_GE(timeline.lost_events(), 7u);
  EXPECT_EQ(timeline.lost_reason(), "the trace buffer overflowed");
}

}  // namespace
}  // namespace plugpull::timeline
