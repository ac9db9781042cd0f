#!/bin/sh
# Builds wharfie, brings the shop up and shows it answering (Debian 12 or 13, root, a Rust toolchain
# unless WHARFIE names a binary).
set -eu
cd "$(dirname "$0")/../.."

[ "$(id -u)" = 0 ] || { echo "run.sh: containers need root" >&2; exit 1; }
missing=
for package in gcc libc6-dev nftables curl; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

if [ -z "${WHARFIE:-}" ]; then
    cargo build --release
    WHARFIE=$PWD/target/release/wharfie
fi
export WHARFIE
examples/images.sh nginx redis postgres shop-app
"$WHARFIE" -f examples/shop/compose.yaml up -d --wait
"$WHARFIE" -f examples/shop/compose.yaml ps
curl --silent --show-error --fail http://127.0.0.1:8080/
echo "It answers on http://127.0.0.1:8080/. To end it: $WHARFIE -f examples/shop/compose.yaml down"
