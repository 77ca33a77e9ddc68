#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nested_cuts.sh FOLDER ROUNDS: in each round, removes files that are still open and goes on with
# others, so that recovery meets orphans beside what it has to replay.
set -eu
folder=$1
rounds=$2
round=0
while [ "$round" -lt "$rounds" ]; do
  exec 3> "$folder/a" 4> "$folder/b" 5> "$folder/c" 6> "$folder/d"
  for number in 3 4 5 6; do
    dd if=/bin/dd of="/proc/self/fd/$number" bs=4096 count=12 2> /dev/null
  done
  sync
  rm "$folder/a" "$folder/b" "$folder/c" "$folder/d"
  for name in 1 2 3 4 5 6; do
    dd if=/bin/dd of="$folder/$round-$name" bs=1024 count=9 conv=fsync 2> /dev/null
  done
  exec 3>&- 4>&- 5>&- 6>&-
  sync
  round=$((round + 1))
done
