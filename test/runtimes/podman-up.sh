#!/bin/sh
# podman-up.sh DIR
# Starts Podman's Docker-compatible API on storage of its own under DIR and prints its socket. Does nothing if it runs
# already. DIR/podman is the podman command for the same storage.
# Needs: podman, conmon, runc, curl.
set -eu

dir=${1:?usage: podman-up.sh DIR}
socket=$dir/podman.sock
answers() { curl -sf --max-time 5 --unix-socket "$socket" http://podman/_ping > /dev/null 2>&1; }
if [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null && answers; then
  echo "$socket"
  exit 0
fi

mkdir -p "$dir"
open_files=$(awk '/^Max open files/ {print $4 ":" $5}' /proc/self/limits)
# Podman's own default for processes, 1048576, cannot be set without CAP_SYS_RESOURCE.
cat > "$dir/containers.conf" <<TOML
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$dir/tmp"
runtime = "runc"
[containers]
log_driver = "k8s-file"
netns = "none"
default_ulimits = ["nofile=$open_files", "nproc=1024:1024"]
TOML
cat > "$dir/storage.conf" <<TOML
[storage]
driver = "overlay"
graphroot = "$dir/root"
runroot = "$dir/run"
TOML
# conmon 2.1 leaves a file named "oom" in the working directory.
cat > "$dir/podman" <<SH
#!/bin/sh
cd "$dir"
export CONTAINERS_CONF="$dir/containers.conf" CONTAINERS_STORAGE_CONF="$dir/storage.conf"
exec podman --tmpdir "$dir/tmp" "\$@"
SH
chmod +x "$dir/podman"

rm -f "$socket"
setsid "$dir/podman" system service --time 0 "unix://$socket" > "$dir/log" 2>&1 < /dev/null &
echo $! > "$dir/pid"
tries=${EXIT137_TRIES:-400}
until answers; do
  tries=$((tries - 1))
  if [ "$tries" -le 0 ]; then
    echo "podman-up.sh: podman does not answer at $socket; end of its log:" >&2
    tail -20 "$dir/log" >&2
    exit 1
  fi
  sleep 0.05
done
echo "$socket"
