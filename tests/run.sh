#!/bin/sh
# Installs what the tests need (Debian 12 or 13, root, a Rust toolchain) and runs them all.
#
#   tests/run.sh [FILTER]      only the tests whose names contain FILTER
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "tests/run.sh: the tests make containers and networks: run them as root" >&2; exit 1; }

wanted="gcc libc6-dev nftables iproute2 procps curl util-linux busybox-static runc docker-registry"
missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

if [ $# -eq 0 ]; then
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
fi
WHARFIE_IMPORT=no examples/images.sh
cargo test --workspace -- "$@"
