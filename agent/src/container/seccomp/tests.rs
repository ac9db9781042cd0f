use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::syscalls::Abi;
use super::*;

fn default_profile(capabilities: CapabilitySet) -> LinuxSeccomp {
    for_container(&SeccompProfile::Default, capabilities)
        .unwrap()
        .unwrap()
}

/// Answers what `work` returns in a thread that is confined by the profile.
fn confined<T: Send + 'static>(
    capabilities: CapabilitySet,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let program = compile(&default_profile(capabilities)).unwrap();
    std::thread::spawn(move || {
        prctl::set_no_new_privs().unwrap();
        load(program.as_bytes()).unwrap();
        work()
    })
    .join()
    .unwrap()
}

#[test]
fn the_kernel_enforces_the_default() {
    let stream = SockType::Stream;
    let answers = confined(CapabilitySet::container_default(), move || {
        let open = |family| socket(family, stream, SockFlag::empty(), None).map(|_| ());
        [
            open(AddressFamily::Inet),
            open(AddressFamily::Unix),
            open(AddressFamily::Vsock),
            open(AddressFamily::Alg),
            unshare(CloneFlags::CLONE_NEWUSER),
            nix::unistd::sethostname("stolen"),
        ]
    });
    let no = Err(Errno::EPERM);
    assert_eq!(answers, [Ok(()), Ok(()), no, no, no, no]);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let errors = confined(CapabilitySet::container_default(), || {
        [libc::SYS_clone3, 999, libc::SYS_personality].map(|number| {
            // SAFETY: the filter answers, so that none of these does anything; nothing is passed
            // but a number that is no personality.
            unsafe { libc::syscall(number, 0x004_0000, 0) };
            Errno::last()
        })
    });
    assert_eq!(errors, [Errno::ENOSYS, Errno::ENOSYS, Errno::EPERM]);
}

#[test]
fn capabilities_open_the_calls_that_need_them() {
    let names = |capabilities| -> Vec<String> {
        let profile = default_profile(capabilities);
        let rules = profile.syscalls().clone().unwrap_or_default();
        rules.iter().flat_map(|rule| rule.names().clone()).collect()
    };
    let default = names(CapabilitySet::container_default());
    let forbidden = [
        "bpf",
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "perf_event_open",
        "unshare",
        "setns",
        "mount",
        "move_mount",
        "pivot_root",
        "kexec_load",
        "init_module",
        "reboot",
        "swapon",
        "socketcall",
        "open_by_handle_at",
        "syslog",
        "quotactl",
        "nfsservctl",
        "uselib",
        "ustat",
        "sysfs",
        "acct",
    ];
    for name in forbidden {
        assert!(!default.iter().any(|allowed| allowed == name), "{name}");
    }
    assert!(default.iter().any(|name| name == "chroot"));
    let all = names(CapabilitySet::ALL);
    for name in [
        "bpf",
        "mount",
        "unshare",
        "reboot",
        "open_by_handle_at",
        "init_module",
    ] {
        assert!(all.iter().any(|allowed| allowed == name), "{name}");
    }
    // Not even then: nothing in a container needs them.
    for name in [
        "kexec_load",
        "io_uring_setup",
        "userfaultfd",
        "keyctl",
        "swapon",
    ] {
        assert!(!all.iter().any(|allowed| allowed == name), "{name}");
    }
}

#[test]
fn every_name_of_the_default_is_a_call_somewhere() {
    for rule in default_profile(CapabilitySet::ALL)
        .syscalls()
        .iter()
        .flatten()
    {
        for name in rule.names() {
            let known = [Abi::X86_64, Abi::I386, Abi::Aarch64]
                .iter()
                .any(|abi| abi.number(name).is_some());
            assert!(known, "{name}");
        }
    }
}

#[test]
fn the_table_agrees_with_the_c_library() {
    let abi = if cfg!(target_arch = "x86_64") {
        Abi::X86_64
    } else {
        Abi::Aarch64
    };
    for (name, number) in [
        ("read", libc::SYS_read),
        ("clone3", libc::SYS_clone3),
        ("seccomp", libc::SYS_seccomp),
        ("openat2", libc::SYS_openat2),
        ("futex_waitv", libc::SYS_futex_waitv),
        ("_llseek", -1),
    ] {
        assert_eq!(
            abi.number(name).map_or(-1, libc::c_long::from),
            number,
            "{name}"
        );
    }
}

#[test]
fn what_is_no_filter_is_not_loaded() {
    assert!(load(&[]).is_err());
    assert!(load(&[0; 9]).is_err());
}

#[test]
fn unconfined_is_no_filter_at_all() {
    assert_eq!(
        for_container(&SeccompProfile::Unconfined, CapabilitySet::EMPTY),
        Ok(None)
    );
}
