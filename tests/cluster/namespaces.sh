#!/bin/bash
# namespaces.sh CGROUP... -- INIT [ARGUMENT]...
# Joins the cgroups, and runs INIT as pid 1 of namespaces and a session of its own. The cgroups are joined first: the cgroup namespace begins there.
set -euo pipefail
while [ "$1" != -- ]; do
  echo $$ > "$1/cgroup.procs"
  shift
done
shift
exec setsid unshare --net --pid --mount --uts --ipc --cgroup --fork --kill-child -- bash "$@"
