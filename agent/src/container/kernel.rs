//! System calls that nix does not wrap: clone3, detached mounts, pidfd signals, capabilities.
//!
//! Each function is one call with its arguments made safe. A detached mount is changed while nobody
//! can see it and then put on a file descriptor, so that no path is resolved twice.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// On which side of a clone one is.
pub(super) enum Forked {
    Parent { pid: Pid, pidfd: OwnedFd },
    Child,
}

/// Forks into new namespaces (`flags`), on cgroup v2 right into a cgroup.
///
/// Only for a process with one thread: the child goes on with a copy of everything.
///
/// Source: clone(2), "clone3()".
pub(super) fn fork_into(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Forked> {
    // SAFETY: all fields of clone_args are integers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    let mut pidfd: RawFd = -1;
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        // The libc constant does not fit into its type.
        args.flags |= 0x2_0000_0000;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM and a stack this is fork(2); the caller has one thread. `args` and
    // `pidfd` live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            std::mem::size_of::<libc::clone_args>(),
        )
    };
    match Errno::result(result)? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent {
            pid: Pid::from_raw(pid as i32),
            // SAFETY: the kernel has just stored a new descriptor here.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// What changes on a detached mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MountChange {
    /// `MOUNT_ATTR_*` to set and to clear.
    pub(super) set: u64,
    pub(super) clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`, or 0.
    pub(super) propagation: u64,
    pub(super) depth: Depth,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Depth {
    #[default]
    This,
    Below,
}

impl Depth {
    fn flag(self) -> libc::c_uint {
        match self {
            Self::This => 0,
            Self::Below => libc::AT_RECURSIVE as libc::c_uint,
        }
    }
}

/// Clones the mount at `from`, detached.
pub(super) fn clone_mount(from: impl AsFd, depth: Depth) -> nix::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let flags =
        OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_EMPTY_PATH as libc::c_uint;
    // SAFETY: the path is a constant string; the descriptor is borrowed.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            from.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags | depth.flag(),
        )
    };
    let fd = Errno::result(fd)?;
    // SAFETY: open_tree returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Changes a mount through a descriptor of its root.
pub(super) fn change_mount(mount: impl AsFd, change: MountChange) -> nix::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attributes = Attributes {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation,
        user_namespace: 0,
    };
    // SAFETY: `Attributes` is `struct mount_attr`, version 0, and its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH as libc::c_uint | change.depth.flag(),
            &raw const attributes,
            std::mem::size_of::<Attributes>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Puts a detached mount on top of `target`.
pub(super) fn attach_mount(mount: impl AsFd, target: impl AsFd) -> nix::Result<()> {
    const F_EMPTY_PATH: libc::c_uint = 0x4;
    const T_EMPTY_PATH: libc::c_uint = 0x40;
    // SAFETY: both paths are constant strings; the descriptors are borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            target.as_fd().as_raw_fd(),
            c"".as_ptr(),
            F_EMPTY_PATH | T_EMPTY_PATH,
        )
    };
    Errno::result(result).map(drop)
}

/// A handle of a process that cannot come to mean another one.
pub(super) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: takes and returns integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let fd = Errno::result(fd)?;
    // SAFETY: pidfd_open returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal by number (also real-time ones); 0 only asks whether it is alive.
pub(super) fn pidfd_signal(pidfd: impl AsFd, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Joins several namespaces of one process at once.
///
/// nix's `setns` takes a descriptor and flags as well; this names what the pair means.
pub(super) fn join_namespaces(pidfd: impl AsFd, flags: libc::c_int) -> nix::Result<()> {
    // SAFETY: takes integers.
    let result = unsafe { libc::setns(pidfd.as_fd().as_raw_fd(), flags) };
    Errno::result(result).map(drop)
}

/// Sets effective and permitted capabilities, and empties the inheritable ones.
pub(super) fn set_capabilities(effective: u64, permitted: u64) -> nix::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Half {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: 0,
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two halves; both live until it returns.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    Errno::result(result).map(drop)
}

/// prctl(2) with up to two numbers.
pub(super) fn prctl(option: libc::c_int, first: u64, second: u64) -> nix::Result<()> {
    // SAFETY: only used with options whose arguments are numbers.
    let result = unsafe { libc::prctl(option, first, second, 0_u64, 0_u64) };
    Errno::result(result).map(drop)
}

/// Lets a descriptor be waited for.
pub(super) fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its number open and the same until it is dropped, and it is given away.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(io::Error::from)
}

/// Gives freed memory back to the system: a shim lives long and has done the most of its work.
pub(super) fn release_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes a number; touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Marks every descriptor from `first` on to be closed by execve, or closes it now.
pub(super) fn close_range(first: RawFd, when: Close) -> nix::Result<()> {
    let flags = match when {
        Close::Now => 0,
        Close::OnExec => libc::CLOSE_RANGE_CLOEXEC as libc::c_int,
    };
    // SAFETY: with `Now` the caller owns no descriptor from `first` on, or ends right after.
    let result = unsafe { libc::close_range(first as libc::c_uint, libc::c_uint::MAX, flags) };
    Errno::result(result).map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Now,
    OnExec,
}

/// Unlocks a new terminal and opens its other end, without a path.
pub(super) fn terminal_peer(master: impl AsFd) -> nix::Result<OwnedFd> {
    let master = master.as_fd().as_raw_fd();
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    Errno::result(unsafe { libc::ioctl(master, libc::TIOCSPTLCK, &raw const unlocked) })?;
    // SAFETY: TIOCGPTPEER takes open flags and returns a descriptor.
    let fd = Errno::result(unsafe {
        libc::ioctl(
            master,
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    })?;
    // SAFETY: the ioctl returned a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn set_terminal_size(terminal: impl AsFd, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCSWINSZ reads a winsize.
    let result = unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCSWINSZ,
            &raw const size,
        )
    };
    Errno::result(result).map(drop)
}

/// Makes a terminal the controlling one of the calling session leader.
pub(super) fn set_controlling_terminal(terminal: impl AsFd) -> nix::Result<()> {
    // SAFETY: TIOCSCTTY takes a number.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) };
    Errno::result(result).map(drop)
}

/// Sets a limit in the kernel's numbers; `u64::MAX` is unlimited.
pub(super) fn set_limit(resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads one rlimit64, writes nothing.
    let result = unsafe { libc::prlimit64(0, resource, &raw const limit, std::ptr::null_mut()) };
    Errno::result(result).map(drop)
}

pub(super) fn hard_limit(resource: u32) -> nix::Result<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one rlimit64.
    let result = unsafe { libc::prlimit64(0, resource, std::ptr::null(), &raw mut limit) };
    Errno::result(result)?;
    Ok(limit.rlim_max)
}

/// Sets the NIS domain name of the UTS namespace.
pub(super) fn set_domain_name(name: &str) -> nix::Result<()> {
    // SAFETY: the length told is the length of the text.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(result).map(drop)
}

/// Moves descriptor `from` to the number `to`, where it survives execve.
pub(super) fn move_to(from: impl AsFd, to: RawFd) -> nix::Result<()> {
    // SAFETY: `to` is one of 0, 1, 2, which nobody here owns as an OwnedFd.
    let result = unsafe { libc::dup2(from.as_fd().as_raw_fd(), to) };
    Errno::result(result).map(drop)
}

/// Ends a forked child without running anything of its parent's.
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Replaces the program; returns only if that failed. The lists must end with a null.
pub(super) fn replace_program(
    path: &CStr,
    args: &[*const libc::c_char],
    env: &[*const libc::c_char],
) -> Errno {
    debug_assert!(
        args.last().is_some_and(|p| p.is_null()) && env.last().is_some_and(|p| p.is_null())
    );
    // SAFETY: both lists end with a null and point to strings that the caller keeps alive.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Errno::last()
}

/// Sets all signals back to their defaults: what is ignored stays so in the program (execve(2)).
///
/// The Rust runtime ignores SIGPIPE. glibc's posix_spawn(3) ignores the two signals that it keeps for
/// itself, 32 and 33, in whoever was started by it, and its signal(3) does not let us change that.
pub(super) fn default_signals() {
    // Handler (SIG_DFL is 0), flags, restorer and mask, as the kernel takes them.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=64_i32 {
        // SAFETY: the structure is valid, of the size that the kernel reads, and outlives the call;
        // SIGKILL and SIGSTOP refuse, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8_usize,
            )
        };
    }
}

/// Leaves the session keyring for a new one, which has no name.
///
/// Source: keyctl_join_session_keyring(3).
pub(super) fn new_keyring() -> nix::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the kernel reads nothing of ours.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    Errno::result(joined).map(drop)
}
