#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Looks at a target path from the node's side; exit status 1 when it is not as it should be.
#
#   look.sh gone PATH            nothing is there any more, and nothing is mounted there
#   look.sh mounts PATH COUNT    so many mounts are stacked there
#   look.sh size PATH MIN MAX    the file system has between MIN and MAX MiB
#   look.sh writes PATH          a file can be written there, to the disk
#   look.sh refuses PATH         it cannot, and ext4 has stopped writing
#   look.sh block PATH SERIAL    it is the block device with the serial: what is written to it can be
#                                read from the disk
set -u

fail() {
  echo "look.sh: $*"
  exit 1
}

mounts_at() {
  count=0
  while read -r _ _ _ _ target _; do
    [ "$target" = "$1" ] && count=$((count + 1))
  done < /proc/self/mountinfo
  echo "$count"
}

write_file() {
  echo written > "$1/file" && sync "$1/file"
}

case "$1" in
  writes) write_file "$2" || fail "$2 cannot be written to" ;;
  refuses)
    write_file "$2" && fail "$2 can be written to"
    # Whatever the journal holds goes to the disk, and ext4 finds out.
    mkdir "$2/folder"
    sync
    mkdir "$2/another" && fail "ext4 goes on writing"
    ;;
  gone)
    [ ! -e "$2" ] || fail "$2 is still there"
    [ "$(mounts_at "$2")" -eq 0 ] || fail "something is mounted on $2"
    ;;
  mounts)
    count=$(mounts_at "$2")
    [ "$count" -eq "$3" ] || fail "$count mounts are on $2, not $3"
    ;;
  size)
    { read -r _ && read -r _ kib _; } <<EOF
$(df -Pk "$2")
EOF
    mib=$((kib / 1024))
    [ "$mib" -ge "$3" ] && [ "$mib" -le "$4" ] || fail "$2 has $mib MiB, not $3 to $4"
    ;;
  block)
    [ -b "$2" ] || fail "$2 is no block device"
    for file in /sys/block/*/serial; do
      serial=
      read -r serial < "$file"
      [ "$serial" = "$3" ] || continue
      disk=${file%/serial}
      disk=/dev/${disk##*/}
    done
    echo "written through $2" > /tmp/mine
    dd if=/tmp/mine of="$2" bs=512 conv=sync,fsync 2> /dev/null || fail "$2 cannot be written to"
    read -r line < "$disk"
    [ "$line" = "written through $2" ] || fail "$disk has not what was written to $2: $line"
    ;;
  *) exit 2 ;;
esac
exit 0
