#!/bin/sh
# podman-down.sh DIR
# Removes the containers of podman-up.sh DIR, ends its service and removes DIR.
set -u

dir=${1:?usage: podman-down.sh DIR}
[ -d "$dir" ] || exit 0
[ -x "$dir/podman" ] && "$dir/podman" rm --all --force --time 0 > /dev/null 2>&1
pid=$(cat "$dir/pid" 2> /dev/null || :)
# Nothing of it is kept, so it need not end in good order.
[ -n "$pid" ] && kill -9 "$pid" 2> /dev/null

# A conmon ends a moment after its container, and only then can its cgroup be removed.
conmons() {
  for process in /proc/[0-9]*; do
    tr '\0' ' ' < "$process/cmdline" | grep -q "conmon .*$dir/" && echo "${process#/proc/}"
  done 2> /dev/null
}
for pid in $(conmons); do kill -9 "$pid" 2> /dev/null; done
while [ -n "$(conmons)" ]; do sleep 0.05; done

mounts_below() { awk -v dir="$1/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort -r; }
mounts_below "$dir" | while read -r mount; do umount -l "$mount"; done
rm -rf "$dir"
find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} \; 2> /dev/null
exit 0
