#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh PROGRAM FOLDER: builds main.go from the packages of the distribution, without a network,
# into a program that needs no shared object. Where a package is missing it says so, leaves no
# PROGRAM, and is no failure: only the scenarios and tests of this agent need it.
set -eu
program=$1
folder=$2
source=$(dirname -- "$0")/main.go
library=/usr/share/gocode/src

missing() {
  rm -f -- "$program"
  echo "plugpull-mount-utils-agent is not built: $1 is missing (apt-get install golang-go" \
    "golang-k8s-utils-dev golang-k8s-klog-dev golang-github-go-logr-logr-dev)"
  exit 0
}

command -v go >/dev/null || missing golang-go
[ -f "$library/k8s.io/utils/mount/mount_linux.go" ] || missing k8s.io/utils/mount
[ -f "$library/k8s.io/klog/klog.go" ] || missing k8s.io/klog
[ -d "$library/github.com/go-logr/logr" ] || missing github.com/go-logr/logr

# Without modules the version in an import path is a folder, which the package does not have.
mkdir -p -- "$folder/path/src/k8s.io/klog"
ln -sfn "$library/k8s.io/klog" "$folder/path/src/k8s.io/klog/v2"
GO111MODULE=off GOFLAGS='' GOPATH="$folder/path:${library%/src}" GOCACHE="$folder/cache" \
  CGO_ENABLED=0 GOOS=linux GOARCH=amd64 \
  go build -trimpath -ldflags '-s -w -buildid=' -o "$program" "$source"
