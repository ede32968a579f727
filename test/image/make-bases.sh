#!/bin/sh
# make-bases.sh DIR
# Makes DIR/base.tar and DIR/build-base.tar: what the Dockerfile wants of its two bases, of this machine's own files, so
# that it can be built where no registry can be reached. The second has npm, and the packages of package-lock.json in
# npm's cache. Import them with
#   docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' base.tar …
# Needs: util-linux, coreutils, dash, ca-certificates, tar, npm, and `npm ci` done.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
out=${1:?usage: make-bases.sh DIR}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

copy() { [ -e "$root$2" ] || { mkdir -p "$root$(dirname "$2")" && cp -L "$1" "$root$2"; }; }
# A program at a path of the image, with the libraries that it is linked to where they are here.
add() {
  copy "$1" "$2"
  for library in $(ldd "$1" | grep -oE '/[^ ]+'); do copy "$library" "$library"; done
}
program() { add "$(command -v "$1")" "/usr/bin/$1"; }

make_root() {
  root=$work/$1
  mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/local/bin" "$root/etc" "$root/tmp" "$root/root" \
    "$root/proc" "$root/sys" "$root/dev"
  chmod 1777 "$root/tmp"
  ln -s usr/bin "$root/bin"
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
  program env
  program dmesg
  copy /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
  add "$("$here/node_modules/.bin/node" -p process.execPath)" /usr/local/bin/node
}

archive() { tar -C "$work/$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$out/$1.tar" .; }

mkdir -p "$out"
make_root base
archive base

make_root build-base
for name in sh cp mkdir chmod ln; do program "$name"; done
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
mkdir -p "$root/usr/local/lib/node_modules"
cp -rL "$npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
mkdir "$work/packages"
cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$work/packages"
(cd "$work/packages" && npm ci --cache "$root/npm" --prefer-offline --ignore-scripts --no-audit --loglevel=error > /dev/null 2>&1)
archive build-base
