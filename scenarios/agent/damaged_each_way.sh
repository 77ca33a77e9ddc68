#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The reference agent meets a disk that was damaged: one attempt at most, one alert, and nothing
# made or repaired; the disk beside it is mounted all the same.
#
#   damaged_each_way.sh MOUNTED ERRNO     it must end mounted (yes, no), and say that errno
set -u
work=/root/agent-damage
rm -rf $work
mkdir -p $work
fail() {
  echo "FAILED: $*"
  cat $work/log $work/alerts 2> /dev/null
  exit 1
}
agent() { plugpull-reference-agent --config $work/config "$@" 2>> $work/log; }
is_mounted() { grep -q " $1 " /proc/self/mountinfo; }
cat > $work/config << END
state_folder $work/state
alert_file $work/alerts
poll_ms 50
delay_first_ms 100
may_format yes
volume vol
target /vol
volume dm:pp-control-fs
target /control
END
agent settle
status=$?
is_mounted /control || fail "the control is not mounted"
if [ "$1" = yes ]; then
  [ $status -eq 0 ] || fail "it ended with $status, expected 0"
  is_mounted /vol || fail "not mounted"
  [ ! -e $work/alerts ] || fail "an alert"
else
  [ $status -eq 1 ] || fail "it ended with $status, expected 1"
  is_mounted /vol && fail "it is mounted"
  [ "$(wc -l < $work/alerts)" -eq 1 ] || fail "not one alert"
  grep -q "serial vol, errno $2 (" $work/alerts || fail "the alert does not say $2"
  # Once more, as another process: nothing is tried.
  before=$(wc -l < $work/log)
  agent settle
  [ "$(wc -l < $work/log)" -eq "$before" ] || fail "it did not stay silent"
fi
[ "$(grep -c '^plugpull-reference-agent: mount /dev/vd' $work/log)" -le 1 ] || fail "more than one attempt"
grep -q 'is blank' $work/log && fail "it was formatted"
agent unmount || fail "it cannot be unmounted"
echo "passed: $1 $2"
exit 0
