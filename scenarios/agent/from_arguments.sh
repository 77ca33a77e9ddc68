#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The reference agent with its volumes as arguments:
#
#   from_arguments.sh VERB [SERIAL TARGET OPTION,OPTION...]...
set -eu
verb=$1
shift
state=/run/agent/${STATE:-one}
mkdir -p "$state"
{
  echo "state_folder $state"
  echo "seed ${PLUGPULL_SEED:-1}"
  echo "poll_ms 5000"
  while [ $# -ge 3 ]; do
    echo "volume $1"
    echo "target $2"
    IFS=,
    for option in $3; do echo "option $option"; done
    unset IFS
    shift 3
  done
} > "$state.conf"
exec plugpull-reference-agent --config "$state.conf" "$verb"
