#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent of a kernel log of the field, as far as the log shows what it did.
#
#   field_agent.sh loop        for each round: mounts the disk $FAILURES times, is refused, and mounts
#                              and unmounts it $MOUNTS times by the copy of the superblock that the
#                              damage has spared ($COPY); then it waits until the disk has gone and
#                              come again or, with PERIOD set, for so many seconds. $ROUNDS rounds;
#                              0: without an end.
#   field_agent.sh never       the same without the copy: the disk is never recognised
#   field_agent.sh reference   the reference agent in its place
#
# SERIAL: of the disk. TARGET: where it is mounted. OPTIONS: of the mount. PAUSE: half the seconds
# between mounts. POLL: seconds between two looks at whether the disk has gone.
set -u

find_disk() {
  for file in /sys/block/*/serial; do
    serial=
    read -r serial < "$file"
    [ "$serial" = "$SERIAL" ] || continue
    disk=${file%/serial}
    disk=${disk##*/}
    return 0
  done
  return 1
}

# The folder of a disk that has gone is empty, also when the next one has its name.
await_next_round() {
  if [ -n "${PERIOD:-}" ]; then
    sleep "$PERIOD"
    return
  fi
  cd "/sys/block/$disk" 2> /dev/null && while [ -e serial ]; do sleep "$POLL"; done
  cd /
}

# FAILURES times as asked, then MOUNTS times by the copy.
round() {
  i=0
  while [ $i -lt "$FAILURES" ]; do
    mount -t ext4 -o "$OPTIONS" "/dev/$disk" "$TARGET"
    sleep $((2 * PAUSE))
    i=$((i + 1))
  done
  i=0
  while [ $i -lt "$1" ]; do
    mount -t ext4 -o "$OPTIONS,sb=$COPY" "/dev/$disk" "$TARGET" && sleep "$PAUSE" && umount "$TARGET"
    sleep "$PAUSE"
    i=$((i + 1))
  done
}

loop() { # MOUNTS
  mkdir -p "$TARGET"
  rounds=0
  while [ "$ROUNDS" -eq 0 ] || [ $rounds -lt "$ROUNDS" ]; do
    until find_disk; do sleep "$POLL"; done
    round "$1"
    rounds=$((rounds + 1))
    [ $rounds -eq "$ROUNDS" ] || await_next_round
  done
}

reference() {
  {
    echo "state_folder /root/agent-state"
    echo "poll_ms 5000"
    echo "volume $SERIAL"
    echo "target $TARGET"
    IFS=,
    for option in $OPTIONS; do [ "$option" = rw ] || echo "option $option"; done
  } > /root/agent.conf
  exec plugpull-reference-agent --config /root/agent.conf run
}

case "$1" in
  loop) loop "$MOUNTS" ;;
  never) loop 0 ;;
  reference) reference ;;
  *) exit 2 ;;
esac
