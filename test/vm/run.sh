#!/bin/bash
# run.sh [KERNEL [TEST...]]
# Runs the integration tests that matter for cgroup v2 inside a virtual machine with that kernel (default 6.1).
# EXIT137_VM_INIT=systemd: under systemd.
set -euo pipefail

cd "$(dirname "$0")/../.."
kernel=${1:-6.1}
shift || :
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(test/receiver/cgroup/*.test.ts test/receiver/sources/memcg*.test.ts test/integration/docker.test.ts)

npm run --silent build
test/vm/fetch-kernels.sh "$kernel"
# Made out here, because compilers are slow in there.
test/runtimes/make-image.sh "${EXIT137_CACHE:-/var/cache/exit137}/test-image.tar"
echo "vm: kernel $kernel, cgroup v2: ${tests[*]}"
# Emulated: programs run 10 to 20 times slower, and the tests wait so much longer.
# The bundle runs with the Node on the PATH.
exec test/vm/vm-run -t 1500 -k "$kernel" -i "${EXIT137_VM_INIT:-none}" -e PATH="$PWD/node_modules/.bin:$PATH" -e CI="${CI:-}" -e EXIT137_PATIENCE=15 -e EXIT137_TRIES=2000 -e EXIT137_CACHE="${EXIT137_CACHE:-/var/cache/exit137}" \
  test/vm/run-tests "${tests[@]}"
