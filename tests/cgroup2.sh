#!/bin/sh
# Tries containers on a host with cgroup v2, in a virtual machine: limits hold, devices are denied.
#
#   tests/cgroup2.sh [WHARFIE]     the program to try; target/debug/wharfie by default
#
# Needs root, qemu-system-x86, busybox-static, cpio, kmod, binutils, nftables, and a Debian mirror for the
# kernel (linux-image-cloud-amd64). Two minutes without KVM (WHARFIE_VM_ACCEL=kvm where there is one): not a part of tests/run.sh, whose
# machine may have cgroup v1 only. What it makes lies in target/cgroup2, the console's text in console.log.
set -eu
cd "$(dirname "$0")/.."
wharfie=$(realpath "${1:-target/debug/wharfie}")
limit=${WHARFIE_VM_LIMIT:-420}
mkdir -p target/cgroup2
cd target/cgroup2

# The newest kernel for clouds: small, and with all that containers need.
fetch_kernel() {
    [ -d kernel/boot ] && return 0
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
    [ -n "$package" ] || { echo "tests/cgroup2.sh: there is no package linux-image-cloud-amd64: apt-get update?" >&2; exit 1; }
    apt-get download "$package"
    dpkg -x "$package"_*.deb kernel
}

# The programs and the libraries that they need, and the kernel's modules.
make_root() {
    rm -rf root image
    mkdir -p root/bin root/sbin root/etc root/tmp root/dev root/proc root/sys root/run root/var/lib root/root root/lib/modules image/bin image/tmp
    cp /bin/busybox root/bin/
    cp "$wharfie" root/bin/wharfie
    strip root/bin/wharfie
    cp "$(command -v nft)" root/sbin/nft
    for program in root/bin/wharfie root/sbin/nft; do
        ldd "$program" | grep -o '/[^ ]*' | sort -u | while read -r library; do
            mkdir -p "root$(dirname "$library")"
            cp -Lu "$library" "root$library"
        done
    done
    for name in $(busybox --list); do
        [ -e "root/bin/$name" ] || ln -s busybox "root/bin/$name"
    done
    ln -sf /bin/busybox root/sbin/modprobe
    version=$(basename kernel/lib/modules/*)
    modules=root/lib/modules/$version
    mkdir -p "$modules/kernel/fs" "$modules/kernel/drivers/net"
    cp kernel/lib/modules/"$version"/modules.builtin* kernel/lib/modules/"$version"/modules.order "$modules/"
    for part in net lib crypto arch fs/overlayfs drivers/net/veth.ko drivers/net/vxlan; do
        [ ! -e "kernel/lib/modules/$version/kernel/$part" ] || {
            mkdir -p "$(dirname "$modules/kernel/$part")"
            cp -r "kernel/lib/modules/$version/kernel/$part" "$modules/kernel/$part"
        }
    done
    depmod -b root "$version"
    cp /bin/busybox image/bin/
    for name in $(busybox --list); do
        [ -e "image/bin/$name" ] || ln -s busybox "image/bin/$name"
    done
    tar -C image -cf root/busybox.tar .
    guest >root/guest
    chmod +x root/guest
    # The first root cannot be left by pivot_root(2): all is copied to one that can.
    cat >root/init <<'INIT'
#!/bin/sh
mkdir /new
mount -t tmpfs -o size=900m tmpfs /new
cp -a /bin /sbin /etc /lib* /usr /guest /busybox.tar /new/ 2>/dev/null
cd /new && mkdir -p tmp dev proc sys run root var/lib
exec switch_root /new /guest
INIT
    chmod +x root/init
    (cd root && find . | cpio -o -H newc --quiet | gzip -1) >initrd
}

# What runs in the machine.
guest() {
    cat <<'GUEST'
#!/bin/sh
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mkdir -p /dev/pts /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
modprobe overlay
failed=0
say() { echo "cgroup2: $*"; }
# is WHAT EXPECTED FOUND
is() { if [ "$2" = "$3" ]; then say "ok     $1"; else failed=1; say "FAILED $1: expected '$2', found '$3'"; fi; }
# has WHAT TEXT FOUND: the text is a part of it.
has() { case $3 in *"$2"*) say "ok     $1";; *) failed=1; say "FAILED $1: '$2' is not in '$3'";; esac; }
# soon WHAT COMMAND...: within a minute.
soon() { what=$1; shift; n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || { failed=1; say "FAILED $what"; return 1; }; sleep 0.2; done; say "ok     $what"; }
end() { [ $failed = 0 ] && say passed || { say failed; tail -40 /tmp/agent.log; }; poweroff -f; }

RUST_LOG=info setsid wharfie agent >/tmp/agent.log 2>&1 &
soon "the node answers" test -S /run/wharfie/wharfie.sock || end
soon "an image is imported" wharfie image import /busybox.tar box:1 || end
mkdir /stack && cd /stack
cat >compose.yaml <<'FILE'
services:
  web:
    image: box:1
    init: true
    command: sleep 1000000
    mem_limit: 64m
    memswap_limit: 64m
    mem_reservation: 32m
    pids_limit: 20
    cpus: 0.5
    cpu_shares: 512
    cpuset: "0"
    networks: [front]
  hog:
    image: box:1
    command: tail /dev/zero
    mem_limit: 32m
    memswap_limit: 32m
    profiles: [hog]
networks: {front: }
FILE
wharfie up -d --wait web 2>&1 | tail -5
id=$(wharfie ps -q web)
group=$(find /sys/fs/cgroup -type d -name "$id*" | head -1)
has "it has a cgroup" /sys/fs/cgroup/ "$group"
for line in "memory.max 67108864" "memory.low 33554432" "pids.max 20" "cpu.max 50000 100000" "cpu.weight 20" "cpuset.cpus 0"; do
    is "$line" "${line#* }" "$(cat $group/${line%% *})"
done
[ ! -e $group/memory.swap.max ] || is "memory.swap.max 0" 0 "$(cat $group/memory.swap.max)"
inside() { wharfie exec -T web sh -c "$1" 2>&1; }
is "it sees itself at the root" "0::/" "$(inside 'cat /proc/self/cgroup')"
has "it sees its limit" 67108864 "$(inside 'cat /sys/fs/cgroup/memory.max')"
has "it cannot change it" "Read-only" "$(inside 'echo max > /sys/fs/cgroup/memory.max')"
has "a device that is not its own cannot be opened" "not permitted" "$(inside 'mknod /tmp/mem c 1 1; dd if=/tmp/mem of=/dev/null count=1 bs=1')"
has "nor the kernel's log" "not permitted" "$(inside 'mknod /tmp/kmsg c 1 11; head -c1 /tmp/kmsg')"
is "the harmless ones can" "fine" "$(inside 'mknod /tmp/zero c 1 5 && head -c1 /tmp/zero >/dev/null && echo fine')"
has "more processes than allowed are refused" "fork" "$(inside 'for i in $(seq 30); do sleep 5 & done')"
has "more memory than allowed is a kill" "137" "$(inside 'tail /dev/zero; echo $?')"
is "the container has survived it" "running" "$(wharfie ps --format json web | sed 's/.*"State":"\([a-z]*\)".*/\1/')"
wharfie pause web >/dev/null 2>&1
is "it is frozen" "1" "$(sed -n 's/^frozen //p' $group/cgroup.events)"
wharfie unpause web >/dev/null 2>&1
is "it is thawed" "0" "$(sed -n 's/^frozen //p' $group/cgroup.events)"
has "its use is counted" "web" "$(wharfie stats --no-stream 2>&1)"
wharfie --profile hog up -d hog >/dev/null 2>&1
ended() { wharfie ps -a --format json hog | grep -q '"ExitCode":137'; }
soon "a container without memory ends with 137" ended
is "a program's end is told" "7" "$(wharfie run --rm -T web sh -c 'exit 7' >/dev/null 2>&1; echo $?)"
wharfie stop -t 1 web >/dev/null 2>&1
is "it stops" "exited" "$(wharfie ps -a --format json web | sed 's/.*"State":"\([a-z]*\)".*/\1/')"
wharfie --profile hog down -t 1 >/dev/null 2>&1
is "no cgroup is left" "" "$(find /sys/fs/cgroup -mindepth 2 -type d -path '*wharfie*')"
end
GUEST
}

fetch_kernel
make_root
timeout --kill-after=5 "$limit" qemu-system-x86_64 -machine accel="${WHARFIE_VM_ACCEL:-tcg}" -cpu max -m 2048 -smp 1 \
    -nographic -no-reboot -nodefaults -serial stdio \
    -kernel kernel/boot/vmlinuz-* -initrd initrd -append "console=ttyS0 quiet panic=-1" \
    </dev/null >console.log 2>&1 || true
grep -a 'cgroup2: ' console.log | tr -d '\r' || true
grep -aq 'cgroup2: passed' console.log && exit 0
tail -60 console.log
exit 1
