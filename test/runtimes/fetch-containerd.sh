#!/bin/sh
# fetch-containerd.sh SUITE
# Unpacks the containerd of another Debian SUITE (trixie: 1.7; sid: 2.1 or newer) into ${EXIT137_CACHE:-/var/cache/exit137}
# and prints the folder of its programs. Installs nothing; does nothing where it is there already. The mirror is that of
# this machine's apt. The machine's own runc goes with it: newer ones want a newer libc.
set -eu

suite=${1:?usage: fetch-containerd.sh SUITE}
dir=${EXIT137_CACHE:-/var/cache/exit137}/containerd-$suite
if [ -x "$dir/bin/containerd" ]; then
  echo "$dir/bin"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/none" "$work/new"
: > "$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$work/sources.list"
cat > "$work/apt.conf" <<APT
Dir::State "$work/state";
Dir::State::status "$work/status";
Dir::Cache "$work/cache";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "$work/none";
Dir::Etc::preferencesparts "$work/none";
APT::Sandbox::User "root";
Acquire::Languages "none";
APT
export APT_CONFIG="$work/apt.conf"
apt-get -qq update >&2
(cd "$work" && apt-get -qq download containerd >&2 && dpkg -x containerd_*.deb new)
mkdir -p "$dir"
# In one step: whoever finds it finds all of it.
mv "$work/new/usr/bin" "$dir/bin"
echo "$dir/bin"
