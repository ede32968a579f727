#!/bin/sh
# make-image.sh OUT.tar
# Makes the test image localhost/exit137-test:1 (busybox and memhog) as a docker-archive, without a runtime or registry.
# Load it with `docker load -i`, `podman load -i` or `ctr -n NAMESPACE images import`.
# Needs: busybox-static, gcc, libc6-dev, tar.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: make-image.sh OUT.tar}
[ "$out" -nt "$here/memhog.c" ] && [ "$out" -nt "$here/make-image.sh" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root/bin" "$root/tmp" "$root/proc" "$root/sys" "$root/dev" "$root/etc" "$root/run"
gcc -O2 -static -s -o "$root/bin/memhog" "$here/memhog.c"
cp "$(command -v busybox)" "$root/bin/busybox"
for applet in sh sleep kill cat echo dd true false; do ln -s busybox "$root/bin/$applet"; done
echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"

# Sorted, dated 1970 and owned by root, so that the same input gives the same image id.
archive() { tar -C "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$2" .; }

image=$work/image
mkdir "$image"
archive "$root" "$image/layer.tar"
layer=$(sha256sum "$image/layer.tar" | cut -d' ' -f1)
architecture=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
cat > "$work/config.json" <<JSON
{
  "architecture": "$architecture", "os": "linux", "created": "1970-01-01T00:00:00Z",
  "config": {"Env": ["PATH=/bin"], "Cmd": ["memhog", "sleep"], "WorkingDir": "/"},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
  "history": [{"created": "1970-01-01T00:00:00Z"}]
}
JSON
config=$(sha256sum "$work/config.json" | cut -d' ' -f1).json
mv "$work/config.json" "$image/$config"
echo "[{\"Config\": \"$config\", \"RepoTags\": [\"localhost/exit137-test:1\"], \"Layers\": [\"layer.tar\"]}]" > "$image/manifest.json"

mkdir -p "$(dirname "$out")"
archive "$image" "$out.$$"
mv "$out.$$" "$out"
