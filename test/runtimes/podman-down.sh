#!/bin/sh
# podman-down.sh DIR
# Removes the containers of podman-up.sh DIR, ends its service and removes DIR.
set -u

. "$(dirname "$0")/left-behind.sh"
dir=${1:?usage: podman-down.sh DIR}
[ -d "$dir" ] || exit 0
[ -x "$dir/podman" ] && "$dir/podman" rm --all --force --time 0 > /dev/null 2>&1
pid=$(cat "$dir/pid" 2> /dev/null || :)
# Nothing of it is kept, so it need not end in good order.
[ -n "$pid" ] && kill -9 "$pid" 2> /dev/null

end_conmons "$dir"
remove_folder "$dir"
find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} \; 2> /dev/null
exit 0
