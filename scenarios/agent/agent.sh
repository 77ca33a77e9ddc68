#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An agent of vm/guest/agents, configured by its arguments, which are lines of the configuration:
#
#   agent.sh VERB [SERIAL...] -- LINE... -- [DEFECT]
#
# Without DEFECT it is the reference agent. Its state outlives it, until the guest ends; agents with
# another STATE in their environment do not know of each other.
set -eu
state=/run/agent/${STATE:-one}
mkdir -p "$state"
verb=
while [ "$1" != -- ]; do
  verb="$verb $1"
  shift
done
shift
{
  echo "state_folder $state"
  echo "seed ${PLUGPULL_SEED:-1}"
  while [ "$1" != -- ]; do
    echo "$1"
    shift
  done
} > "$state.conf"
shift
if [ $# -eq 0 ]; then
  # shellcheck disable=SC2086
  exec plugpull-reference-agent --config "$state.conf" $verb
fi
# shellcheck disable=SC2086
exec plugpull-broken-agent --defect "$1" --config "$state.conf" $verb
