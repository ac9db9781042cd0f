//! From an OCI profile to a filter in the kernel's classic BPF.
//!
//!     architecture?  ── another ──► kill the process (its calls would be read by the wrong table)
//!       └ number: a binary search over ranges of numbers with the same answer
//!           └ answer, or checks of arguments and then the answer
//!
//! Numbers that belong to no known call, and those above the newest one, are answered with ENOSYS
//! where the profile would answer with an error. Source: seccomp(2); runc's `patchbpf` does the same.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator,
};

use super::syscalls::Abi;
use super::{Program, SeccompError};

/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;
/// Calls of the x32 convention come as x86_64 with this bit, and no one builds kernels with it.
const X32_BIT: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const NO_SUCH_CALL: u32 = ERRNO | libc::ENOSYS.cast_unsigned();

/// One `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    operand: u32,
}

/// What is done for one system call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The first whose conditions all hold gives the answer.
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    otherwise: u32,
}

/// Makes the filter of an OCI profile.
///
/// # Errors
///
/// Returns [`SeccompError`] for `SCMP_ACT_NOTIFY`, for an argument beyond the sixth, for a filter
/// that is too long for the kernel, and on a processor that is neither x86_64 nor aarch64.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, SeccompError> {
    let mut code = vec![load(ARCHITECTURE)];
    for abi in abis(profile)? {
        let section = section(abi, profile)?;
        code.push(branch(JUMP_IF_EQUAL, abi.audit_arch(), 1, 0));
        code.push(jump(section.len()));
        code.extend(section);
    }
    code.push(answer_with(KILL_PROCESS));
    if code.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong {
            instructions: code.len(),
        });
    }
    Ok(Program(
        code.iter()
            .flat_map(|instruction| instruction.to_bytes())
            .collect(),
    ))
}

/// The conventions that the profile covers. The host's own is always among them.
fn abis(profile: &LinuxSeccomp) -> Result<Vec<Abi>, SeccompError> {
    let lists = |arch| {
        profile
            .architectures()
            .as_ref()
            .is_some_and(|list| list.contains(&arch))
    };
    if cfg!(target_arch = "x86_64") {
        let mut abis = vec![Abi::X86_64];
        abis.extend(lists(Arch::ScmpArchX86).then_some(Abi::I386));
        Ok(abis)
    } else if cfg!(target_arch = "aarch64") {
        Ok(vec![Abi::Aarch64])
    } else {
        Err(SeccompError::Architecture)
    }
}

/// The code for one convention.
fn section(abi: Abi, profile: &LinuxSeccomp) -> Result<Vec<Instruction>, SeccompError> {
    let mut code = vec![load(NUMBER)];
    if abi == Abi::X86_64 {
        code.push(branch(JUMP_IF_AT_LEAST, X32_BIT, 0, 1));
        code.push(answer_with(NO_SUCH_CALL));
    }
    let mut ranges = ranges(&answers(abi, profile)?, unknown_call(profile)?);
    code.extend(search(&mut ranges));
    Ok(code)
}

/// What is done for each known call of a convention.
fn answers(abi: Abi, profile: &LinuxSeccomp) -> Result<BTreeMap<u16, Answer>, SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut answers: BTreeMap<u16, Answer> = abi
        .numbers()
        .map(|number| (number, Answer::always(default)))
        .collect();
    let mut decided = std::collections::BTreeSet::new();
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        let arguments = rule.args().as_deref().unwrap_or_default();
        for name in rule.names() {
            if let Some(argument) = arguments.iter().find(|argument| argument.index() > 5) {
                let syscall = name.clone();
                return Err(SeccompError::Argument {
                    syscall,
                    index: argument.index(),
                });
            }
            let Some(number) = abi.number(name) else {
                continue;
            };
            let answer = answers.entry(number).or_default();
            if !arguments.is_empty() {
                answer
                    .conditional
                    .extend(alternatives(arguments).map(|all| (all, action)));
            } else if decided.insert(number) {
                answer.otherwise = action;
            }
        }
    }
    Ok(answers)
}

/// Conditions on different arguments must all hold; of several on one argument, any is enough.
///
/// Source: runc `libcontainer/seccomp`, `matchCall`.
fn alternatives(arguments: &[LinuxSeccompArg]) -> impl Iterator<Item = Vec<LinuxSeccompArg>> {
    let repeated = arguments.iter().enumerate().any(|(at, argument)| {
        arguments[..at]
            .iter()
            .any(|other| other.index() == argument.index())
    });
    let size = if repeated { 1 } else { arguments.len() };
    arguments.chunks(size).map(<[_]>::to_vec)
}

/// What is done for a number that belongs to no known call.
fn unknown_call(profile: &LinuxSeccomp) -> Result<u32, SeccompError> {
    match profile.default_action() {
        LinuxSeccompAction::ScmpActErrno => Ok(NO_SUCH_CALL),
        other => action(other, profile.default_errno_ret()),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, SeccompError> {
    match action {
        LinuxSeccompAction::ScmpActNotify => Err(SeccompError::Unsupported {
            feature: "SCMP_ACT_NOTIFY",
        }),
        // The kernel keeps sixteen bits for it, and takes at most 4095.
        action => Ok(action.as_u32(errno.map(|errno| errno.min(4095)))),
    }
}

/// A stretch of numbers with the same answer, up to the next one's first number.
struct Range {
    first: u32,
    answer: Answer,
}

fn ranges(answers: &BTreeMap<u16, Answer>, unknown: u32) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let newest = answers.keys().next_back().copied().unwrap_or(0);
    for number in 0..=newest + 1 {
        let answer = answers
            .get(&number)
            .cloned()
            .unwrap_or_else(|| Answer::always(unknown));
        if ranges.last().is_none_or(|range| range.answer != answer) {
            ranges.push(Range {
                first: number.into(),
                answer,
            });
        }
    }
    ranges
}

/// A binary search: the halves one after the other, the lower one first.
fn search(ranges: &mut [Range]) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [range] => range.answer.code(),
        _ => {
            let (lower, upper) = ranges.split_at_mut(ranges.len() / 2);
            let middle = upper[0].first;
            let (lower, upper) = (search(lower), search(upper));
            let mut code = match u8::try_from(lower.len()) {
                Ok(distance) => vec![branch(JUMP_IF_AT_LEAST, middle, distance, 0)],
                Err(_) => vec![branch(JUMP_IF_AT_LEAST, middle, 0, 1), jump(lower.len())],
            };
            code.extend(lower);
            code.extend(upper);
            code
        }
    }
}

impl Answer {
    fn always(action: u32) -> Self {
        Self {
            conditional: Vec::new(),
            otherwise: action,
        }
    }

    fn code(&self) -> Vec<Instruction> {
        let mut code = Vec::new();
        for (conditions, action) in &self.conditional {
            // From the last to the first, so that the distance to the next clause is known.
            let mut clause = vec![answer_with(*action)];
            for condition in conditions.iter().rev() {
                let mut checked = check(condition, clause.len());
                checked.extend(clause);
                clause = checked;
            }
            code.extend(clause);
        }
        code.push(answer_with(self.otherwise));
        code
    }
}

/// Checks one argument: falls through to the next instruction when the condition holds, and jumps
/// over `behind` more instructions when not.
///
/// Arguments have 64 bits and are compared in halves. At most six checks of six instructions make a
/// clause, so that distances fit in a byte.
fn check(condition: &LinuxSeccompArg, behind: usize) -> Vec<Instruction> {
    let no = |ahead: usize| (ahead + behind) as u8;
    let offset = ARGUMENTS + 8 * condition.index() as u32;
    let little = u32::from(cfg!(target_endian = "little"));
    let (high, low) = (load(offset + 4 * little), load(offset + 4 * (1 - little)));
    let (value_high, value_low) = halves(condition.value());
    let equal = |operand, if_true, if_false| branch(JUMP_IF_EQUAL, operand, if_true, if_false);
    let greater = |operand, if_true, if_false| branch(JUMP_IF_GREATER, operand, if_true, if_false);
    let at_least =
        |operand, if_true, if_false| branch(JUMP_IF_AT_LEAST, operand, if_true, if_false);
    match condition.op() {
        LinuxSeccompOperator::ScmpCmpEq => {
            vec![
                high,
                equal(value_high, 0, no(2)),
                low,
                equal(value_low, 0, no(0)),
            ]
        }
        LinuxSeccompOperator::ScmpCmpNe => {
            vec![
                high,
                equal(value_high, 0, 2),
                low,
                equal(value_low, no(0), 0),
            ]
        }
        LinuxSeccompOperator::ScmpCmpGe => vec![
            high,
            greater(value_high, 3, 0),
            equal(value_high, 0, no(2)),
            low,
            at_least(value_low, 0, no(0)),
        ],
        LinuxSeccompOperator::ScmpCmpGt => vec![
            high,
            greater(value_high, 3, 0),
            equal(value_high, 0, no(2)),
            low,
            greater(value_low, 0, no(0)),
        ],
        LinuxSeccompOperator::ScmpCmpLt => vec![
            high,
            greater(value_high, no(3), 0),
            equal(value_high, 0, 2),
            low,
            at_least(value_low, no(0), 0),
        ],
        LinuxSeccompOperator::ScmpCmpLe => vec![
            high,
            greater(value_high, no(3), 0),
            equal(value_high, 0, 2),
            low,
            greater(value_low, no(0), 0),
        ],
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (wanted_high, wanted_low) = halves(condition.value_two().unwrap_or(0));
            vec![
                high,
                and(value_high),
                equal(wanted_high, 0, no(3)),
                low,
                and(value_low),
                equal(wanted_low, 0, no(0)),
            ]
        }
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}

fn load(offset: u32) -> Instruction {
    Instruction {
        code: LOAD,
        if_true: 0,
        if_false: 0,
        operand: offset,
    }
}

fn and(mask: u32) -> Instruction {
    Instruction {
        code: AND,
        if_true: 0,
        if_false: 0,
        operand: mask,
    }
}

/// Jumps over `distance` instructions.
fn jump(distance: usize) -> Instruction {
    // More than the kernel allows is refused before the filter is used.
    Instruction {
        code: JUMP,
        if_true: 0,
        if_false: 0,
        operand: distance as u32,
    }
}

fn branch(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        operand,
    }
}

fn answer_with(action: u32) -> Instruction {
    Instruction {
        code: RETURN,
        if_true: 0,
        if_false: 0,
        operand: action,
    }
}

impl Instruction {
    fn to_bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_ne_bytes(), self.operand.to_ne_bytes());
        [a, b, self.if_true, self.if_false, c, d, e, f]
    }
}

#[cfg(test)]
mod tests;
