#!/bin/sh
# docker-up.sh DIR [BINDIR]
# Starts a dockerd of its own under DIR, with its own containerd, and prints its socket. Does nothing if it runs
# already; starts it again on the same data if it was killed. It stands beside the system's Docker without touching it:
# own socket, data, containerd and cgroup parent; no bridge and no iptables, so use --network none or host.
# BINDIR holds dockerd, containerd, ctr and containerd-shim-runc-v2 if they are not those on the PATH.
# Needs: docker.io, curl.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: docker-up.sh DIR [BINDIR]}
socket=$dir/docker.sock
if [ -n "${2:-}" ]; then export PATH="$2:$PATH"; fi

answers() { curl -sf --max-time 5 --unix-socket "$socket" http://docker/_ping > /dev/null 2>&1; }
if [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2> /dev/null && answers; then
  echo "$socket"
  exit 0
fi

mkdir -p "$dir"
containerd=$("$here/containerd-up.sh" "$dir/containerd" "${2:-}")
# live-restore: containers outlive the daemon, so that they can die while nobody watches.
echo '{"live-restore": true}' > "$dir/daemon.json"
# dockerd gives up if the pid in its pid file is alive, even if that is somebody else by now.
rm -f "$dir/dockerd.pid"
setsid dockerd --config-file "$dir/daemon.json" --host "unix://$socket" --containerd "$containerd" \
  --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/dockerd.pid" \
  --bridge=none --iptables=false --ip6tables=false \
  --cgroup-parent "/exit137-$(basename "$dir")" --exec-opt native.cgroupdriver=cgroupfs \
  >> "$dir/log" 2>&1 < /dev/null &
echo $! > "$dir/pid"

tries=${EXIT137_TRIES:-400}
until answers; do
  tries=$((tries - 1))
  if [ "$tries" -le 0 ] || ! kill -0 "$(cat "$dir/pid")" 2> /dev/null; then
    echo "docker-up.sh: dockerd does not answer at $socket; end of its log:" >&2
    tail -20 "$dir/log" >&2
    exit 1
  fi
  sleep 0.05
done
echo "$socket"
