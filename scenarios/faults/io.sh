#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Requests to a disk, one by one, and what must come of each. The last word, from the variant's
# command_argument, is "faulty" or "healthy". DISK is a serial, or a path.
#
#   io.sh reads DISK PATTERN WORD      direct reads of 4 KiB from the start of the disk on; PATTERN
#   io.sh writes DISK PATTERN WORD     has a . for each that must work and an x for each that must
#   io.sh flushes DISK PATTERN WORD    fail; healthy: all must work. flushes: each after a write
#   io.sh slow DISK WORD               40 small reads take longer than a second, or do not
#   io.sh write DISK WORD              its first sector cannot be written, or it can
#   io.sh size DISK MIB WORD           the disk has so many MiB; healthy: any number
#   io.sh mib-per-write PATH COUNT WORD   COUNT files of 1 MiB with fsync: one must fail, or none
#   io.sh until-failure PATH WORD      files with fsync, until one fails; healthy: 20 must work
#   io.sh logged PATTERN WORD          the kernel has logged such a line, or has not
set -u
for word in "$@"; do :; done
fail() {
  echo "$*"
  exit 1
}
# expect FAILED WHAT: whether it failed must be what the word says.
expect() {
  case "$word$1" in
    faulty0) fail "$2 works, and should not" ;;
    faulty*) ;;
    *0) ;;
    *) fail "$2 does not work" ;;
  esac
}
case "$1" in
  mib-per-write)
    failed=0
    i=0
    while [ $i -lt "$3" ]; do
      dd if=/dev/zero of="$2/file$i" bs=1M count=1 conv=fsync 2>&1 || failed=$((failed + 1))
      i=$((i + 1))
    done
    expect $failed "writing $3 files"
    exit 0
    ;;
  until-failure)
    most=5000
    [ "$word" = healthy ] && most=20
    i=0
    failed=0
    while [ $i -lt $most ] && [ $failed = 0 ]; do
      dd if=/dev/zero of="$2/probe" bs=4096 count=1 conv=fsync 2>/dev/null || failed=1
      i=$((i + 1))
    done
    expect $failed "writing a file with fsync $i times"
    exit 0
    ;;
  logged)
    found=0
    dmesg | grep -E "$2" && found=1
    [ "$word$found" = faulty0 ] && fail "the kernel has logged nothing like \"$2\""
    [ "$word$found" = healthy1 ] && fail "the kernel should not have logged this"
    exit 0
    ;;
esac
disk=$2
if [ "${2#/}" = "$2" ]; then
  disk=
  for serial in /sys/block/*/serial; do
    [ "$(cat "$serial")" = "$2" ] && disk=${serial#/sys/block/} && disk=/dev/${disk%/serial}
  done
  [ -n "$disk" ] || fail "no disk has the serial $2"
fi
case "$1" in
  reads | writes | flushes)
    got=
    i=0
    while [ $i -lt ${#3} ]; do
      case "$1" in
        reads) dd if=$disk of=/dev/null bs=4096 count=1 skip=$i iflag=direct ;;
        writes) dd if=/dev/zero of=$disk bs=4096 count=1 seek=$i oflag=direct conv=notrunc ;;
        flushes) dd if=/dev/zero of=$disk bs=4096 count=1 seek=$i oflag=direct conv=notrunc,fsync ;;
      esac 2>/dev/null && got=$got. || got=${got}x
      i=$((i + 1))
    done
    wanted=$3
    [ "$word" = healthy ] && wanted=$(echo "$3" | tr x .)
    [ "$got" = "$wanted" ] || fail "$1 of $2 gave $got, expected $wanted"
    ;;
  slow)
    # A machine with much to do is slow too, but not ten times in a row.
    for try in 1 2 3 4 5 6 7 8 9 10; do
      from=$(date +%s%N)
      dd if=$disk of=/dev/null bs=512 count=40 iflag=direct || fail "reading failed"
      took=$((($(date +%s%N) - from) / 1000000))
      [ "$word" = faulty ] || [ $took -lt 1000 ] && break
    done
    case "$word" in
      healthy) [ $took -lt 1000 ] || fail "40 reads took $took ms" ;;
      *) [ $took -ge 1000 ] || fail "40 reads took only $took ms" ;;
    esac
    ;;
  write)
    failed=0
    dd if=/dev/zero of=$disk bs=512 count=1 oflag=direct conv=notrunc 2>&1 || failed=1
    expect $failed "writing to $2"
    ;;
  size)
    got=$(($(cat /sys/block/${disk#/dev/}/size) / 2048))
    [ "$word" = healthy ] || [ "$got" = "$3" ] || fail "$2 has $got MiB, expected $3"
    ;;
  *) fail "unknown: $1" ;;
esac
