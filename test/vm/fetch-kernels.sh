#!/bin/bash
# fetch-kernels.sh VERSION...
# Unpacks Debian's cloud kernels 5.10, 6.1, 6.12, 6.18 or 7.2 into the cache, each as VERSION/boot and VERSION/lib/modules.
# Nothing is installed, and the machine's own apt state is left alone: sources, lists and cache are private ones.
set -euo pipefail

cache=${EXIT137_CACHE:-/var/cache/exit137}/kernels
apt=$cache/apt
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# VERSION -> the Debian suite and patterns for the packages: their names move with Debian's point releases.
suite_of() {
  case $1 in
    5.10) echo bullseye 'linux-image-5\.10\.0-[0-9]+-cloud-amd64' ;;
    6.1) echo bookworm 'linux-image-6\.1\.0-[0-9]+-cloud-amd64' ;;
    6.12) echo bookworm-backports 'linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64' ;;
    6.18) echo trixie-backports 'linux-image-6\.18\.[0-9]+\+deb13-cloud-amd64' ;;
    7.2) echo trixie-backports 'linux-'{base,binary,modules}'-7\.2\.[0-9]+\+deb13-cloud-amd64' ;;
    *) echo "fetch-kernels.sh: unknown kernel \"$1\"" >&2; return 1 ;;
  esac
}

# The mirror from which this machine takes Debian already.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -E '/debian/?$' | head -1 || :; }

fetch() {
  local version=$1 suite patterns pattern package release
  read -r suite patterns < <(suite_of "$version")
  local target=$cache/$version work=$apt/$version
  rm -rf "$work"
  mkdir -p "$work"/{lists/partial,archives/partial,root}
  echo "deb [signed-by=$keyring] $(mirror) $suite main" > "$work/sources.list"
  local options=(-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/nonexistent
    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update -qq
  for pattern in $patterns; do
    package=$(apt-cache "${options[@]}" pkgnames | grep -xE "$pattern" | sort -V | tail -1 || :)
    [ -n "$package" ] || { echo "fetch-kernels.sh: no package like $pattern in $suite" >&2; return 1; }
    (cd "$work" && apt-get "${options[@]}" download -qq "$package" && dpkg -x "$package"_*.deb root)
  done
  # On newer Debian the modules lie in /usr/lib.
  [ -e "$work/root/lib/modules" ] || ln -s usr/lib "$work/root/lib"
  release=$(ls "$work/root/lib/modules")
  depmod -b "$work/root" "$release"
  mv "$work/root" "$target"
  rm -rf "$work"
  echo "fetch-kernels.sh: $version is $release"
}

for version; do
  [ -e "$cache/$version" ] || fetch "$version"
done
