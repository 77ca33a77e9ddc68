#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The agent of a kernel log of the field in which a new disk was formatted and mounted.
#
#   first_format.sh mount ROLE      mounts the disk with the serial $SERIAL at $TARGET. Where the
#                                   kernel recognises nothing, it reads all of the disk; of zeroes
#                                   alone, it makes a file system there.
#   first_format.sh unmount ROLE    unmounts it again
#
# ROLE is field, or reference for the reference agent in its place. OPTIONS: of the mount.
set -u

find_disk() {
  for file in /sys/block/*/serial; do
    serial=
    read -r serial < "$file"
    [ "$serial" = "$SERIAL" ] || continue
    disk=${file%/serial}
    disk=/dev/${disk##*/}
    return 0
  done
  echo "no disk has the serial $SERIAL"
  exit 1
}

is_blank() { cmp -s -n "$(blockdev --getsize64 "$disk")" "$disk" /dev/zero; }

field_mount() {
  find_disk
  mkdir -p "$TARGET"
  mount -t ext4 -o "$OPTIONS" "$disk" "$TARGET" && return
  is_blank || exit 1
  mkfs.ext4 -q "$disk" && mount -t ext4 -o "$OPTIONS" "$disk" "$TARGET"
}

reference() {
  {
    echo "state_folder /root/agent-state"
    echo "may_format yes"
    echo "volume $SERIAL"
    echo "target $TARGET"
    IFS=,
    for option in $OPTIONS; do [ "$option" = rw ] || echo "option $option"; done
  } > /root/agent.conf
  plugpull-reference-agent --config /root/agent.conf "$@"
}

case "$1-$2" in
  mount-field) field_mount ;;
  mount-reference) reference reset && reference settle ;;
  unmount-field) umount "$TARGET" ;;
  unmount-reference) reference unmount ;;
  *) exit 2 ;;
esac
