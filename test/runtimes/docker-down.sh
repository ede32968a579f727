#!/bin/sh
# docker-down.sh DIR
# Removes the containers of docker-up.sh DIR, ends the daemon and its containerd, and removes DIR and the cgroup parent.
set -u

here=$(cd "$(dirname "$0")" && pwd)
. "$here/left-behind.sh"
dir=${1:?usage: docker-down.sh DIR}
[ -d "$dir" ] || exit 0
pid=$(cat "$dir/pid" 2> /dev/null || :)

ask() { curl -sf --max-time 60 --unix-socket "$dir/docker.sock" "$@"; }
if [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null; then
  for id in $(ask 'http://docker/containers/json?all=1' | grep -oE '"Id":"[0-9a-f]{64}"' | cut -d'"' -f4); do
    ask -X DELETE "http://docker/containers/$id?force=1"
  done
  # Nothing of it is kept, so it need not end in good order.
  kill -9 "$pid"
fi
"$here/containerd-down.sh" "$dir/containerd"

remove_folder "$dir"
parent=exit137-$(basename "$dir")
find /sys/fs/cgroup -depth -type d -path "*/$parent*" -exec rmdir {} \; 2> /dev/null
exit 0
