#!/bin/sh
# crio-up.sh DIR IMAGE.tar [BINDIR]
# Starts a CRI-O of its own under DIR, with the image of make-image.sh in its storage, and prints its socket. Does nothing
# if it runs already. BINDIR holds crio and pinns if they are not on the PATH.
# EXIT137_CGROUP_DRIVER=systemd: systemd makes the groups of containers.
# Needs: crio, pinns, conmon, runc, podman, curl. It has no CNI: pods must use the network of the host.
set -eu

dir=${1:?usage: crio-up.sh DIR IMAGE.tar [BINDIR]}
archive=${2:?usage: crio-up.sh DIR IMAGE.tar [BINDIR]}
socket=$dir/crio.sock
if [ -n "${3:-}" ]; then export PATH="$3:$PATH"; fi

# Its socket serves HTTP as well as gRPC.
answers() { curl -sf --max-time 5 --unix-socket "$socket" http://crio/info > /dev/null 2>&1; }
if [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null && answers; then
  echo "$socket"
  exit 0
fi

driver=${EXIT137_CGROUP_DRIVER:-cgroupfs}
if [ "$driver" = systemd ]; then monitor_group=system.slice; else monitor_group=pod; fi
mkdir -p "$dir/cni"
# internal_wipe: it would take the image away, as if the node had been started anew.
cat > "$dir/crio.conf" <<TOML
[crio]
root = "$dir/root"
runroot = "$dir/run"
storage_driver = "overlay"
log_dir = "$dir/logs"
version_file = "$dir/version"
clean_shutdown_file = "$dir/clean.shutdown"
internal_wipe = false
[crio.api]
listen = "$socket"
[crio.runtime]
cgroup_manager = "$driver"
apparmor_profile = "unconfined"
irqbalance_config_restore_file = "disable"
container_exits_dir = "$dir/exits"
container_attach_socket_dir = "$dir/attach"
namespaces_dir = "$dir/namespaces"
disable_hostport_mapping = true
hooks_dir = []
cdi_spec_dirs = []
default_runtime = "runc"
[crio.runtime.runtimes.runc]
runtime_root = "$dir/runc"
monitor_cgroup = "$monitor_group"
[crio.image]
pause_image = "localhost/exit137-test:1"
[crio.network]
network_dir = "$dir/cni"
plugin_dirs = ["$dir/cni"]
[crio.nri]
enable_nri = false
TOML
# They share the format of their storage.
[ -d "$dir/root" ] || podman --root "$dir/root" --runroot "$dir/run" --storage-driver overlay --tmpdir "$dir/tmp" \
  --events-backend none load --quiet --input "$archive" > /dev/null
# conmon 2.1 leaves a file named "oom" in the working directory.
cd "$dir"
setsid crio --config "$dir/crio.conf" --config-dir "$dir/none" > "$dir/log" 2>&1 < /dev/null &
echo $! > "$dir/pid"

tries=${EXIT137_TRIES:-400}
until answers; do
  tries=$((tries - 1))
  if [ "$tries" -le 0 ] || ! kill -0 "$(cat "$dir/pid")" 2> /dev/null; then
    echo "crio-up.sh: CRI-O does not answer at $socket; end of its log:" >&2
    tail -20 "$dir/log" >&2
    exit 1
  fi
  sleep 0.05
done
echo "$socket"
