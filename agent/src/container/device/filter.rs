//! The device filter of cgroup v2: an eBPF program that is asked at each open and mknod.
//!
//! The program keeps the permissions that are still undecided, and asks the rules from the last to
//! the first; each rule that fits decides those that it names:
//!
//!     r3 = wanted permissions
//!     for each rule, last first:     not this device?       next rule
//!                         allow:     r3 &= !permissions     r3 == 0?  allowed
//!                         deny:      r3 & permissions?      denied
//!     denied
//!
//! Source: kernel `include/uapi/linux/bpf.h` (`bpf_cgroup_dev_ctx`), `instruction-set.rst`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{DeviceKind, DeviceRule, Verdict};

const BLOCK: i32 = 1;
const CHAR: i32 = 2;

const RETURN: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_U32: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const AND_IMMEDIATE: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const JUMP_IF_ANY_BIT: u8 = 0x46;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

/// Makes the program for rules of which the later ones win; without any, all is denied.
pub fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_U32, KIND, CONTEXT, 0, 0),
        instruction(MOVE, WANTED, KIND, 0, 0),
        instruction(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD_U32, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_U32, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(decide(rule));
    }
    program.extend(answer(0));
    program
}

fn decide(rule: &DeviceRule) -> Vec<u64> {
    let permissions = i32::from(rule.permissions.bits());
    let decision = match rule.verdict {
        Verdict::Allow => vec![
            instruction(AND_IMMEDIATE, WANTED, 0, 0, !permissions),
            instruction(JUMP_UNLESS_EQUAL, WANTED, 0, 2, 0),
        ],
        Verdict::Deny => vec![
            instruction(JUMP_IF_ANY_BIT, WANTED, 0, 1, permissions),
            instruction(JUMP, 0, 0, 2, 0),
        ],
    };
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(BLOCK),
        DeviceKind::Char => Some(CHAR),
    };
    // Numbers of devices have at most 20 bits: the cast keeps them.
    let conditions: Vec<(u8, i32)> = [
        (KIND, kind),
        (MAJOR, rule.major.map(u32::cast_signed)),
        (MINOR, rule.minor.map(u32::cast_signed)),
    ]
    .into_iter()
    .filter_map(|(register, wanted)| Some((register, wanted?)))
    .collect();
    let verdict = answer(i32::from(rule.verdict == Verdict::Allow));
    let behind_conditions = decision.len() + verdict.len();
    let mut block = Vec::new();
    for (at, (register, wanted)) in conditions.iter().enumerate() {
        // At most two more conditions and four instructions lie between here and the next rule.
        let distance = (conditions.len() - at - 1 + behind_conditions) as i16;
        block.push(instruction(
            JUMP_UNLESS_EQUAL,
            *register,
            0,
            distance,
            *wanted,
        ));
    }
    block.extend(decision);
    block.extend(verdict);
    block
}

fn answer(value: i32) -> [u64; 2] {
    [
        instruction(MOVE_IMMEDIATE, RETURN, 0, 0, value),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// Packs one instruction: opcode, registers, offset and constant, from the lowest byte up.
fn instruction(opcode: u8, to: u8, from: u8, offset: i16, constant: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") {
        to | from << 4
    } else {
        to << 4 | from
    };
    let mut bytes = [opcode, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..8].copy_from_slice(&constant.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program into the kernel, which checks it. Needs `CAP_SYS_ADMIN`, or `CAP_BPF` and
/// `CAP_NET_ADMIN`.
pub fn load(program: &[u64]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name[..7].copy_from_slice(b"wharfie");
    let attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name,
        ..LoadAttributes::default()
    };
    let fd = bpf(BPF_PROG_LOAD, &attributes)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a loaded program to a cgroup directory, besides those that are there already (each of
/// them must allow). It stays until the cgroup is gone.
pub fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes).map(|_| ())
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a plain structure that outlives the call, and its size is given; the
    // addresses in it are of memory that the callers above hold.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes, std::mem::size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests;
