#!/bin/sh
# crio-down.sh DIR
# Ends the containers, their monitors and the daemon of crio-up.sh DIR, unmounts what they left and removes DIR.
set -u

. "$(dirname "$0")/left-behind.sh"
dir=${1:?usage: crio-down.sh DIR}
[ -d "$dir" ] || exit 0
pid=$(cat "$dir/pid" 2> /dev/null || :)
# Nothing of it is kept, so it need not end in good order.
[ -n "$pid" ] && kill -9 "$pid" 2> /dev/null
for container in $(runc --root "$dir/runc" list -q 2> /dev/null); do
  runc --root "$dir/runc" delete --force "$container" > /dev/null 2>&1
done

end_conmons "$dir"
remove_folder "$dir"
