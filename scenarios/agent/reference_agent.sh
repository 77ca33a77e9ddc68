#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The reference agent, and some of the broken ones, seen from a shell: what they say, and leave.
#
#   reference_agent.sh damaged     "bad" has lost its magic: one alert, then silence, no byte written
#   reference_agent.sh healthy     "good": mounted once, left alone, unmounted when it is not busy
#   reference_agent.sh formats     "blank" is formatted, "twin" is not, and survives the cleanup
#   reference_agent.sh together    two of them at once mount "ill" once
#   reference_agent.sh fails       "ill" cannot be read: five failures, an alert, nothing written
#   reference_agent.sh recovers    it can be read again: mounted, with what was on it
set -u
work=/root/agent-$1
mkdir -p "$work"
fail() {
  echo "FAILED: $*"
  cat "$work/log" "$work/alerts" 2>/dev/null
  exit 1
}
configure() { # lines of volumes come on stdin
  {
    echo "state_folder $work/state"
    echo "alert_file $work/alerts"
    echo "poll_ms 100"
    echo "delay_first_ms 200"
    echo "unmount_delay_first_ms 50"
    cat
  } > "$work/config"
}
agent() { plugpull-reference-agent --config "$work/config" "$@" 2>> "$work/log"; }
broken() {
  defect=$1
  shift
  plugpull-broken-agent --defect "$defect" --config "$work/config" "$@" 2>> "$work/log"
}
expect() { # STATUS COMMAND...
  wanted=$1
  shift
  "$@"
  got=$?
  [ $got -eq "$wanted" ] || fail "$* ended with $got, expected $wanted"
}
alerts_are() {
  got=0
  [ -f "$work/alerts" ] && got=$(wc -l < "$work/alerts")
  [ "$got" -eq "$1" ] || fail "there are $got alerts, expected $1"
}
is_mounted() { grep -q " $1 " /proc/self/mountinfo; }
disk_of() { grep -lx "$1" /sys/block/*/serial | cut -d/ -f4; }
sum_of() { dd if=/dev/"$(disk_of "$1")" bs=1M 2> /dev/null | md5sum; }

case "$1" in
  damaged)
    printf 'may_format yes\nvolume bad\ntarget /bad\n' | configure
    before=$(sum_of bad)
    expect 1 agent settle
    alerts_are 1
    grep -q "/dev/$(disk_of bad), serial bad, errno EINVAL (22)" "$work/alerts" || fail "alert"
    expect 1 agent settle
    expect 1 agent once
    alerts_are 1
    agent status | grep "^bad given-up failures=1 errno=EINVAL" || fail "$(agent status)"
    is_mounted /bad && fail "it is mounted"
    [ "$(stat -c %a /bad)" = 755 ] || fail "the mount point has mode $(stat -c %a /bad)"
    [ "$(sum_of bad)" = "$before" ] || fail "the disk was written to"
    expect 0 broken forgets-on-restart status
    expect 1 broken forgets-on-restart settle
    alerts_are 2
    agent reset
    expect 0 broken reformats-unrecognised settle
    is_mounted /bad || fail "reformats-unrecognised did not"
    umount /bad
    ;;
  healthy)
    printf 'volume dm:pp-good-fs\ntarget /good\noption noatime\noption data=writeback\n' | configure
    expect 0 agent settle
    expect 0 agent settle
    [ "$(grep -c ' /good ' /proc/self/mountinfo)" -eq 1 ] || fail "not mounted exactly once"
    grep ' /good ' /proc/self/mountinfo | grep noatime | grep -q data=writeback || fail "options"
    # Busy: it stays, and that is said. The broken one says that it is gone.
    exec 9< /good
    expect 5 agent unmount
    is_mounted /good || fail "a busy volume was unmounted"
    expect 0 broken detaches-busy unmount
    is_mounted /good && fail "detaches-busy did not detach"
    exec 9<&-
    agent reset
    expect 0 agent settle
    expect 0 agent unmount
    expect 0 agent once
    is_mounted /good && fail "what was unmounted is mounted again"
    agent reset
    expect 0 broken drops-options settle
    grep ' /good ' /proc/self/mountinfo | grep -q data=writeback && fail "drops-options did not"
    expect 0 agent unmount
    alerts_are 0
    ;;
  formats)
    {
      echo "may_format yes"
      echo "volume blank"
      echo "target /pods/blank"
      echo "workspace /pods"
      echo "volume twin"
      echo "target /pods/twin"
    } | configure
    expect 0 agent settle
    is_mounted /pods/blank || fail "blank is not mounted"
    [ -f /pods/twin/kept ] || fail "twin is not mounted, or has lost its file"
    [ "$(grep -c 'is blank' "$work/log")" -eq 1 ] || fail "not exactly one was formatted"
    touch /pods/rubbish
    expect 0 agent unmount blank
    [ -e /pods/rubbish ] && fail "the workspace was not cleaned up"
    [ -f /pods/twin/kept ] || fail "cleaning up went into a mount"
    agent reset blank
    expect 0 agent settle
    expect 0 broken cleans-through-mounts unmount blank
    [ -f /pods/twin/kept ] && fail "cleans-through-mounts did not"
    umount /pods/twin
    alerts_are 0
    ;;
  together)
    # One by itself knows nothing of the other: it lost its state.
    printf 'settle_ms 300\nvolume ill\ntarget /ill\n' | configure
    sed "s|^state_folder .*|&-of-another|" "$work/config" > "$work/config2"
    agent settle &
    plugpull-reference-agent --config "$work/config2" settle 2>> "$work/log" || fail "the second"
    wait $! || fail "the first"
    [ "$(grep -c 'is mounted on /ill: serial' "$work/log")" -eq 1 ] || fail "not mounted once"
    grep -q 'mount /dev' "$work/log" && fail "a mount was tried and failed"
    alerts_are 0
    expect 0 agent unmount
    agent reset
    broken races settle &
    expect 0 broken races settle
    wait $!
    grep -q 'mount /dev.* on /ill' "$work/log" || fail "races did not"
    expect 0 agent unmount
    ;;
  fails)
    printf 'may_format yes\nvolume ill\ntarget /ill\n' | configure
    expect 1 agent settle
    alerts_are 1
    grep -q "/dev/$(disk_of ill), serial ill, errno EIO (5).*after 5 failures" "$work/alerts" ||
      fail "alert"
    [ "$(grep -c 'tried again in' "$work/log")" -eq 4 ] || fail "not four more attempts"
    grep -q 'is blank' "$work/log" && fail "a disk that cannot be read was formatted"
    expect 1 agent settle
    alerts_are 1
    ;;
  recovers)
    work=/root/agent-fails
    expect 1 agent settle
    alerts_are 1
    agent reset
    expect 0 agent settle
    [ -f /ill/kept ] || fail "what was on it is not there"
    expect 0 agent unmount
    alerts_are 1
    ;;
  *) fail "there is no such part" ;;
esac
echo "passed: $1"
exit 0
