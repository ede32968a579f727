#!/bin/sh
# containerd-up.sh DIR [BINDIR]
# Starts a containerd of its own under DIR, with its CRI plugin, and prints its socket. Does nothing if it runs already.
# BINDIR holds containerd, ctr and containerd-shim-runc-v2 if they are not those on the PATH.
# EXIT137_CGROUP_DRIVER=systemd: systemd makes the groups of containers.
# Needs: containerd, runc. It has no CNI: pods must use the network of the host.
set -eu

dir=${1:?usage: containerd-up.sh DIR [BINDIR]}
socket=$dir/containerd.sock
if [ -n "${2:-}" ]; then export PATH="$2:$PATH"; fi

answers() { ctr -a "$socket" version > /dev/null 2>&1; }
if [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null && answers; then
  echo "$socket"
  exit 0
fi

mkdir -p "$dir/cni"
systemd=false
if [ "${EXIT137_CGROUP_DRIVER:-}" = systemd ]; then systemd=true; fi
# restrict_oom_score_adj: the pause container's -998 needs CAP_SYS_RESOURCE, which a sandbox may lack.
cat > "$dir/config.toml" <<TOML
version = 2
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$socket"
[ttrpc]
  address = "$socket.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/exit137-test:1"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = $systemd
TOML
setsid containerd --config "$dir/config.toml" > "$dir/log" 2>&1 < /dev/null &
echo $! > "$dir/pid"

tries=${EXIT137_TRIES:-400}
until answers; do
  tries=$((tries - 1))
  if [ "$tries" -le 0 ] || ! kill -0 "$(cat "$dir/pid")" 2> /dev/null; then
    echo "containerd-up.sh: containerd does not answer at $socket; end of its log:" >&2
    tail -20 "$dir/log" >&2
    exit 1
  fi
  sleep 0.05
done
echo "$socket"
