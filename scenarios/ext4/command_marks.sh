#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# command_marks.sh FOLDER COUNT: replaces FOLDER/current COUNT times, durably, and says so in the
# block log. Fails at the first command that fails.
set -eu
folder=$1
count=$2
round=0
while [ "$round" -lt "$count" ]; do
  plugpull-mark start "replace-$round"
  echo "content of round $round" > "$folder/next"
  sync "$folder/next"
  mv "$folder/next" "$folder/current"
  sync "$folder"
  plugpull-mark done "replace-$round"
  round=$((round + 1))
done
