#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Mounts $2, then tries $1 seven times, half a second apart.
mkdir -p /mnt/vol /mnt/good
mount -t ext4 -o noatime "$2" /mnt/good
for _ in 1 2 3 4 5 6 7; do
  mount -t ext4 "$1" /mnt/vol && exit 0
  sleep 0.5
done
echo "cannot mount $1"
umount /mnt/good
exit 1
