# Sourced by the down scripts: what a runtime leaves in its folder when its daemon is gone.

# end_conmons DIR: ends the monitors of containers below DIR. A conmon ends a moment after its container, and only then
# can its cgroup be removed.
end_conmons() {
  for pid in $(conmons_of "$1"); do kill -9 "$pid" 2> /dev/null; done
  while [ -n "$(conmons_of "$1")" ]; do sleep 0.05; done
}

conmons_of() {
  for process in /proc/[0-9]*; do
    tr '\0' ' ' < "$process/cmdline" | grep -q "conmon .*$1/" && echo "${process#/proc/}"
  done 2> /dev/null
}

# remove_folder DIR: with all that is mounted below it.
remove_folder() {
  awk -v dir="$1/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
  rm -rf "$1"
}
