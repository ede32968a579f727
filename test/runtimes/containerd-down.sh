#!/bin/sh
# containerd-down.sh DIR
# Ends the tasks, shims and the daemon of containerd-up.sh DIR, unmounts what they left and removes DIR.
set -u

. "$(dirname "$0")/left-behind.sh"
dir=${1:?usage: containerd-down.sh DIR}
[ -d "$dir" ] || exit 0
socket=$dir/containerd.sock
pid=$(cat "$dir/pid" 2> /dev/null || :)

if [ -n "$pid" ] && kill -0 "$pid" 2> /dev/null; then
  for namespace in $(ctr -a "$socket" namespaces list -q); do
    for task in $(ctr -a "$socket" -n "$namespace" tasks list -q); do
      ctr -a "$socket" -n "$namespace" tasks rm -f "$task" > /dev/null 2>&1
    done
  done
  # Nothing of it is kept, so it need not end in good order.
  kill -9 "$pid"
fi

# A shim outlives its containerd. Ours are those whose command line names our socket.
for process in /proc/[0-9]*; do
  if tr '\0' ' ' < "$process/cmdline" 2> /dev/null | grep -q "containerd-shim.* -address $socket "; then
    kill -9 "${process#/proc/}" 2> /dev/null
  fi
done

remove_folder "$dir"
