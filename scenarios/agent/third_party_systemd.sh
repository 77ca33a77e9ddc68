#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# third_party_systemd.sh KIND SERIAL TARGET: the service manager as a container runs it (the
# "container interface" of systemd: a pid namespace of its own, its own /run, /sys read-only so that
# it waits for no udev), with one unit that mounts a disk.
#   oneshot  a service that starts again when it fails, five times within ten minutes
#   endless  the same, 45 s apart, with the limit left as it comes: five times within ten seconds
#   mount    a mount unit
set -eu
kind=$1 serial=$2 target=$3

if [ "${4:-}" != inside ]; then
  # What the manager logs, out of the kernel's log into the output of this program.
  cat /dev/kmsg | while IFS= read -r line; do
    case $line in *";systemd["*) echo "${line#*;}" ;; esac
  done &
  exec unshare --pid --mount --cgroup --ipc --uts --fork --kill-child \
    /bin/sh "$0" "$kind" "$serial" "$target" inside
fi

device=
for file in /sys/class/block/*/serial; do
  [ "$(cat "$file")" != "$serial" ] || device=/dev/$(basename "$(dirname "$file")")
done
[ -n "$device" ] || { echo "no disk has the serial $serial"; exit 1; }
mkdir -p "$target"

mount -t proc proc /proc
mount -o remount,bind,ro /sys
umount /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
units=/run/systemd/system
mkdir -p $units
name=$(echo "${target#/}" | tr / -)

cat >$units/plugpull.target <<UNIT
[Unit]
DefaultDependencies=no
AllowIsolate=yes
Wants=$([ "$kind" = mount ] && echo "$name.mount" || echo volume.service)
UNIT

cat >"$units/$name.mount" <<UNIT
[Unit]
DefaultDependencies=no
[Mount]
What=$device
Where=$target
Type=ext4
Options=noatime
UNIT

limit=StartLimitIntervalSec=600 pause=2500ms
[ "$kind" = oneshot ] || limit='' pause=45s
cat >$units/volume.service <<UNIT
[Unit]
DefaultDependencies=no
StartLimitBurst=5
$limit
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$(command -v mount) -t ext4 -o noatime $device $target
Restart=on-failure
RestartSec=$pause
UNIT
[ "$kind" != mount ] || rm $units/volume.service
[ "$kind" = mount ] || rm "$units/$name.mount"

export container=plugpull
exec /lib/systemd/systemd --system --unit=plugpull.target --log-level=info --log-target=kmsg \
  --show-status=no
