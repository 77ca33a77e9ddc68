#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Requests to a disk, one by one, and what must come of each. The last word, from the variant's
# command_argument, is "faulty" or "healthy".
#
#   io.sh reads SERIAL PATTERN WORD     direct reads of 4 KiB from the start of the disk on; PATTERN
#   io.sh writes SERIAL PATTERN WORD    has a . for each that must work and an x for each that must
#   io.sh flushes SERIAL PATTERN WORD   fail; healthy: all must work. flushes: each after a write
#   io.sh slow SERIAL WORD              40 small reads take longer than a second, or do not
#   io.sh size SERIAL MIB WORD          the disk has so many MiB; healthy: any number
#   io.sh mib-per-write PATH COUNT WORD   COUNT files of 1 MiB with fsync: all must work, or not
set -u
for word in "$@"; do :; done
fail() {
  echo "$*"
  exit 1
}
if [ "$1" = mib-per-write ]; then
  failed=0
  i=0
  while [ $i -lt "$3" ]; do
    dd if=/dev/zero of="$2/file$i" bs=1M count=1 conv=fsync 2>&1 || failed=$((failed + 1))
    i=$((i + 1))
  done
  case "$word$failed" in
    healthy0) exit 0 ;;
    healthy*) fail "$failed of $3 files could not be written" ;;
    faulty0) fail "all $3 files could be written" ;;
  esac
  exit 0
fi
disk=
for serial in /sys/block/*/serial; do
  [ "$(cat "$serial")" = "$2" ] && disk=${serial#/sys/block/} && disk=${disk%/serial}
done
[ -n "$disk" ] || fail "no disk has the serial $2"
case "$1" in
  reads | writes | flushes)
    got=
    i=0
    while [ $i -lt ${#3} ]; do
      case "$1" in
        reads) dd if=/dev/$disk of=/dev/null bs=4096 count=1 skip=$i iflag=direct ;;
        writes) dd if=/dev/zero of=/dev/$disk bs=4096 count=1 seek=$i oflag=direct conv=notrunc ;;
        flushes)
          dd if=/dev/zero of=/dev/$disk bs=4096 count=1 seek=$i oflag=direct conv=notrunc,fsync
          ;;
      esac 2>/dev/null && got=$got. || got=${got}x
      i=$((i + 1))
    done
    wanted=$3
    [ "$word" = healthy ] && wanted=$(echo "$3" | tr x .)
    [ "$got" = "$wanted" ] || fail "$1 of $2 gave $got, expected $wanted"
    ;;
  slow)
    from=$(date +%s%N)
    dd if=/dev/$disk of=/dev/null bs=512 count=40 iflag=direct || fail "reading failed"
    took=$((($(date +%s%N) - from) / 1000000))
    case "$word" in
      healthy) [ $took -lt 1000 ] || fail "40 reads took $took ms" ;;
      *) [ $took -ge 1000 ] || fail "40 reads took only $took ms" ;;
    esac
    ;;
  size)
    got=$(($(cat /sys/block/$disk/size) / 2048))
    [ "$word" = healthy ] || [ "$got" = "$3" ] || fail "$2 has $got MiB, expected $3"
    ;;
esac
