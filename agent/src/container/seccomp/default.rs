//! The default profile: what is listed is allowed, everything else is EPERM.
//!
//! The list was made for this project, by what programs need, and stays within what Docker allows.
//! What it keeps out, and why: new namespaces and mounts (half of the escapes of the last ten years
//! began with a user namespace), keyrings (not namespaced), `bpf`, `perf_event_open`, `userfaultfd` and
//! `io_uring` (kernel bugs), module and reboot calls, and the socket families `AF_ALG` and `AF_VSOCK`.
//! `socketcall` of 32-bit programs would hide a socket's family from the filter, and is out too.

use oci_spec::runtime::LinuxSeccompAction::{ScmpActAllow, ScmpActErrno};
use oci_spec::runtime::LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpGt, ScmpCmpLt, ScmpCmpMaskedEq};
use oci_spec::runtime::{LinuxSeccomp, LinuxSyscall};

use super::{architectures, argument, rule};
use crate::container::capability::CapabilitySet;

/// Calls that every container may make, by topic.
#[rustfmt::skip]
const ALLOWED: &[&[&str]] = &[
    // Files by name.
    &["access", "chdir", "chmod", "chown", "chown32", "creat", "faccessat", "faccessat2", "fchmodat", "fchmodat2",
      "fchownat", "fstatat64", "futimesat", "getcwd", "lchown", "lchown32", "link", "linkat", "lstat", "lstat64",
      "mkdir", "mkdirat", "mknod", "mknodat", "name_to_handle_at", "newfstatat", "open", "openat", "openat2",
      "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "stat", "stat64", "statfs", "statfs64",
      "statx", "symlink", "symlinkat", "truncate", "truncate64", "unlink", "unlinkat", "utime", "utimensat",
      "utimensat_time64", "utimes"],
    // Files by descriptor.
    &["_llseek", "cachestat", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "fadvise64",
      "fadvise64_64", "fallocate", "fchdir", "fchmod", "fchown", "fchown32", "fcntl", "fcntl64", "fdatasync", "flock",
      "fstat", "fstat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "getdents", "getdents64",
      "ioctl", "lseek", "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read",
      "readahead", "readv", "sendfile", "sendfile64", "splice", "sync", "sync_file_range", "syncfs", "tee", "umask",
      "vmsplice", "write", "writev"],
    // Extended attributes.
    &["fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr",
      "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr",
      "setxattrat"],
    // Waiting for descriptors, and being told of changes.
    &["_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
      "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "fanotify_mark", "inotify_add_watch", "inotify_init",
      "inotify_init1", "inotify_rm_watch", "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select",
      "signalfd", "signalfd4"],
    // Asynchronous I/O of the old kind.
    &["io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit"],
    // Sockets; `socket` itself depends on the family, below.
    &["accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
      "recvmmsg", "recvmmsg_time64", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
      "socketpair"],
    // Memory.
    &["brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2",
      "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap",
      "pkey_alloc", "pkey_free", "pkey_mprotect", "process_mrelease", "remap_file_pages"],
    // System V and POSIX messages, semaphores and shared memory.
    &["ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
      "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop",
      "semtimedop", "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget"],
    // Processes and threads.
    &["arch_prctl", "execve", "execveat", "exit", "exit_group", "fork", "get_robust_list", "get_thread_area", "getcpu",
      "getpgid", "getpgrp", "getpid", "getppid", "getsid", "gettid", "modify_ldt", "pidfd_open", "pidfd_send_signal",
      "prctl", "restart_syscall", "rseq", "set_robust_list", "set_thread_area", "set_tid_address", "setpgid", "setsid",
      "vfork", "wait4", "waitid", "waitpid"],
    // Tracing one's own children; before Linux 4.8 this was a way around the filter.
    &["process_vm_readv", "process_vm_writev", "ptrace"],
    // Locks.
    &["futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake"],
    // Signals.
    &["kill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
      "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaltstack",
      "sigprocmask", "sigreturn", "tgkill", "tkill"],
    // Users, groups and capabilities.
    &["capget", "capset", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups",
      "getgroups32", "getresgid", "getresgid32", "getresuid", "getresuid32", "getuid", "getuid32", "setfsgid",
      "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setregid",
      "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setuid",
      "setuid32"],
    // Priorities and limits.
    &["getpriority", "getrlimit", "getrusage", "ioprio_get", "ioprio_set", "prlimit64", "sched_get_priority_max",
      "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
      "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
      "sched_setscheduler", "sched_yield", "setpriority", "setrlimit", "ugetrlimit"],
    // Time.
    &["adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
      "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep",
      "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
      "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
      "timerfd_settime64", "times"],
    // Giving up rights.
    &["landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"],
    // The system.
    &["getrandom", "sysinfo", "uname", "listmount", "statmount"],
];

/// Calls that need a capability in the kernel as well, and are let through with it.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("SYS_ADMIN", &["bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
                    "mount", "mount_setattr", "move_mount",
                    "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
                    "syslog", "umount", "umount2", "unshare"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
    ("SYSLOG", &["syslog"]),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["ioperm", "iopl"]),
    ("SYS_TIME", &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
];

/// `CLONE_NEW*` for mount, cgroup, UTS, IPC, user, PID and network namespaces. Source: clone(2).
const NEW_NAMESPACES: u64 = 0x7e02_0000;

const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question which it is. Source: personality(2).
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The profile for a container with `capabilities`.
pub(super) fn profile(capabilities: CapabilitySet) -> LinuxSeccomp {
    let allow =
        |names: &[&'static str]| rule(names.iter().copied(), ScmpActAllow, None, Vec::new());
    let mut rules: Vec<LinuxSyscall> = ALLOWED.iter().map(|names| allow(names)).collect();
    for (capability, names) in WITH_CAPABILITY {
        if capabilities.has(capability) {
            rules.push(allow(names));
        }
    }
    rules.extend(sockets());
    for personality in PERSONALITIES {
        let value = argument(0, ScmpCmpEq, personality, None);
        rules.push(rule(["personality"], ScmpActAllow, None, vec![value]));
    }
    if !capabilities.has("SYS_ADMIN") {
        let no_namespaces = argument(0, ScmpCmpMaskedEq, NEW_NAMESPACES, Some(0));
        rules.push(rule(["clone"], ScmpActAllow, None, vec![no_namespaces]));
        // Its flags are behind a pointer, where a filter cannot look: programs then use `clone`.
        rules.push(rule(
            ["clone3"],
            ScmpActErrno,
            Some(libc::ENOSYS.cast_unsigned()),
            Vec::new(),
        ));
    }
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(ScmpActErrno);
    profile.set_default_errno_ret(Some(libc::EPERM.cast_unsigned()));
    profile.set_architectures(Some(architectures()));
    profile.set_syscalls(Some(rules));
    profile
}

/// Every family but `AF_ALG` and `AF_VSOCK` (which is not namespaced and reaches the hypervisor).
fn sockets() -> [LinuxSyscall; 3] {
    let family = |op, value| {
        rule(
            ["socket"],
            ScmpActAllow,
            None,
            vec![argument(0, op, value, None)],
        )
    };
    [
        family(ScmpCmpLt, AF_ALG),
        family(ScmpCmpEq, AF_ALG + 1),
        family(ScmpCmpGt, AF_VSOCK),
    ]
}
