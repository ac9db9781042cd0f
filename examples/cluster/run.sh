#!/bin/sh
# Makes a cluster of three hosts on this machine, brings the stack up on it, shows it answering on each host, and
# removes everything again (Debian 12 or 13, root, a Rust toolchain unless WHARFIE names a binary).
#
#   examples/cluster/run.sh [COMMAND…]      runs COMMAND on the first host before everything is removed: `run.sh bash`
#
# A host is a network, mount and host name namespace with a node of its own. All of them, and the switch between them,
# are in a network namespace of this script: nothing is changed outside of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
file=$here/compose.yaml
hosts='1 2 3'

prepare() {
    [ "$(id -u)" = 0 ] || { echo "run.sh: containers need root" >&2; exit 1; }
    missing=
    for package in nftables curl iproute2 util-linux; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        apt-get update -q
        # shellcheck disable=SC2086 # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
    fi
    if [ -z "${WHARFIE:-}" ]; then
        (cd "$root" && cargo build --release)
        WHARFIE=$root/target/release/wharfie
    fi
    export WHARFIE
    # The namespace to come has no way to Debian's packages.
    WHARFIE_IMPORT=no "$root/examples/images.sh" busybox
}

# on HOST COMMAND…
on() {
    pid=$(cat "$work/$1/pid"); socket=unix://$work/$1/run/wharfie.sock; shift
    WHARFIE_HOST=$socket nsenter --net --mount --uts --wd=. --target="$pid" "$@"
}

# waits_for WHAT COMMAND…: half a minute at most
waits_for() {
    what=$1; shift
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "run.sh: $what: not within 30 s" >&2
    return 1
}

has_namespace_of_its_own() { [ "$(readlink "/proc/$1/ns/uts")" != "$(readlink /proc/self/ns/uts)" ]; }

has_ended() { ! kill -0 "$1"; }

host() {
    mkdir -p "$work/$1"
    unshare --net --mount --uts sleep infinity </dev/null >/dev/null 2>&1 &
    echo $! >"$work/$1/pid"
    waits_for "host $1 has namespaces" has_namespace_of_its_own $!
    ip link add "port$1" type veth peer name eth0 netns "$(cat "$work/$1/pid")"
    ip link set "port$1" master switch up
    on "$1" sh -c "hostname host$1 && ip link set lo up && ip addr add 10.77.0.$1/24 dev eth0 && ip link set eth0 up"
    on "$1" "$WHARFIE" agent --data-root "$work/$1/data" --exec-root "$work/$1/run" \
        --host "unix://$work/$1/run/wharfie.sock" --pidfile "$work/$1/agent" </dev/null >"$work/$1/log" 2>&1 &
}

remove() {
    status=$?
    trap - EXIT INT TERM
    echo 'Removing everything.'
    on 1 timeout 60 "$WHARFIE" -f "$file" down -t 1 || { status=1; cat "$work"/*/log >&2; }
    for each in $hosts; do
        for pid in agent pid; do
            pid=$(cat "$work/$each/$pid" 2>/dev/null) || continue
            kill "$pid" 2>/dev/null || :
            waits_for "process $pid ends" has_ended "$pid" || status=1
        done
    done
    rm -rf "$work"
    exit "$status"
}

inside() {
    work=$(mktemp -d)
    trap remove EXIT
    trap 'exit 130' INT TERM
    ip link set lo up
    ip link add switch type bridge forward_delay 0
    ip addr add 10.77.0.254/24 dev switch
    ip link set switch up
    for each in $hosts; do host "$each"; done
    for each in $hosts; do waits_for "the node of host $each answers" on "$each" "$WHARFIE" ls; done

    echo '# One host makes a cluster, the others join it.'
    on 1 "$WHARFIE" cluster init --advertise-addr 10.77.0.1
    token=$(on 1 "$WHARFIE" cluster join-token -q worker)
    for each in 2 3; do
        on "$each" "$WHARFIE" join --advertise-addr "10.77.0.$each" --token "$token" 10.77.0.1
    done
    on 1 "$WHARFIE" node ls

    echo '# The image is on the first host only; the others get it from there.'
    WHARFIE_HOST=unix://$work/1/run/wharfie.sock "$root/examples/images.sh" busybox
    on 1 "$WHARFIE" -f "$file" up -d --wait
    on 1 "$WHARFIE" -f "$file" ps

    echo '# Every host answers.'
    for each in $hosts; do
        printf 'host%s: ' "$each"
        curl --silent --show-error --fail --retry 5 --retry-all-errors "http://10.77.0.$each:8080/"
    done
    [ $# = 0 ] || on 1 "$@"
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
else
    prepare
    exec unshare --net --mount --propagation private "$0" --inside "$@"
fi
