use oci_spec::runtime::LinuxSeccompOperator::*;

use super::super::{argument, rule};
use super::*;

/// Runs a filter as the kernel would.
fn run(program: &Program, abi: Abi, number: u32, arguments: [u64; 6]) -> u32 {
    let mut data = vec![number, abi.audit_arch(), 0, 0];
    data.extend(arguments.iter().flat_map(|argument| {
        let (high, low) = halves(*argument);
        [low, high]
    }));
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let bytes = &program.as_bytes()[at * 8..][..8];
        let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let operand = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let branch = |holds: bool| usize::from(if holds { bytes[2] } else { bytes[3] });
        at += 1 + match code {
            LOAD => {
                accumulator = data[operand as usize / 4];
                0
            }
            AND => {
                accumulator &= operand;
                0
            }
            JUMP => operand as usize,
            JUMP_IF_EQUAL => branch(accumulator == operand),
            JUMP_IF_GREATER => branch(accumulator > operand),
            JUMP_IF_AT_LEAST => branch(accumulator >= operand),
            RETURN => return operand,
            other => panic!("{other:#x}"),
        };
    }
}

const ALLOWED: u32 = 0x7fff_0000;
const REFUSED: u32 = ERRNO | 1;

fn profile(rules: Vec<oci_spec::runtime::LinuxSyscall>) -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(LinuxSeccompAction::ScmpActErrno);
    profile.set_architectures(Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86]));
    profile.set_syscalls(Some(rules));
    profile
}

fn host() -> Abi {
    if cfg!(target_arch = "x86_64") {
        Abi::X86_64
    } else {
        Abi::Aarch64
    }
}

/// Whether `read` is allowed with `given` as its second argument.
#[track_caller]
fn check(op: LinuxSeccompOperator, value: u64, masked: Option<u64>, given: u64, expected: bool) {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let condition = argument(1, op, value, masked);
    let program = compile(&profile(vec![rule(["read"], allow, None, vec![condition])])).unwrap();
    let number = host().number("read").unwrap();
    let answer = run(&program, host(), number.into(), [9, given, 9, 9, 9, 9]);
    assert_eq!(
        answer,
        if expected { ALLOWED } else { REFUSED },
        "{op:?} {value:#x} {given:#x}"
    );
}

#[test]
fn arguments_are_compared_with_all_64_bits() {
    let values = [
        0,
        1,
        5,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0005,
        0x5_0000_0000,
        u64::MAX,
    ];
    for value in values {
        for given in values {
            check(ScmpCmpEq, value, None, given, given == value);
            check(ScmpCmpNe, value, None, given, given != value);
            check(ScmpCmpLt, value, None, given, given < value);
            check(ScmpCmpLe, value, None, given, given <= value);
            check(ScmpCmpGe, value, None, given, given >= value);
            check(ScmpCmpGt, value, None, given, given > value);
            check(ScmpCmpMaskedEq, value, Some(5), given, given & value == 5);
        }
    }
}

#[test]
fn conditions_on_different_arguments_must_all_hold() {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let both = vec![
        argument(0, ScmpCmpEq, 1, None),
        argument(2, ScmpCmpGt, 7, None),
    ];
    let program = compile(&profile(vec![rule(["read"], allow, None, both)])).unwrap();
    let number = host().number("read").unwrap().into();
    let allowed =
        |first, third| run(&program, host(), number, [first, 0, third, 0, 0, 0]) == ALLOWED;
    assert!(allowed(1, 8) && !allowed(1, 7) && !allowed(2, 8));
}

#[test]
fn one_of_several_conditions_on_one_argument_is_enough() {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let either = vec![
        argument(0, ScmpCmpEq, 1, None),
        argument(0, ScmpCmpEq, 7, None),
    ];
    let program = compile(&profile(vec![rule(["read"], allow, None, either)])).unwrap();
    let number = host().number("read").unwrap().into();
    let allowed = |first| run(&program, host(), number, [first, 0, 0, 0, 0, 0]) == ALLOWED;
    assert!(allowed(1) && allowed(7) && !allowed(2));
}

#[test]
fn every_known_call_gets_its_own_answer() {
    let allow = LinuxSeccompAction::ScmpActAllow;
    // Every other call is allowed: the longest search there can be.
    for offset in [0, 1] {
        let wanted = |number: u16| number % 2 == offset;
        let names = [
            "read", "write", "openat", "mseal", "close", "execve", "clone3", "getpid",
        ];
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| host().number(name).is_some_and(wanted))
            .collect();
        let program = compile(&profile(vec![rule(names.clone(), allow, None, vec![])])).unwrap();
        let allowed: Vec<u16> = names
            .iter()
            .filter_map(|name| host().number(name))
            .collect();
        for number in host().numbers() {
            let expected = if allowed.contains(&number) {
                ALLOWED
            } else {
                REFUSED
            };
            assert_eq!(
                run(&program, host(), number.into(), [0; 6]),
                expected,
                "{number}"
            );
        }
    }
}

#[test]
fn unknown_calls_do_not_exist() {
    let program = compile(&profile(vec![])).unwrap();
    for number in [470, 9999, u32::MAX, X32_BIT, X32_BIT + 1] {
        assert_eq!(
            run(&program, host(), number, [0; 6]),
            NO_SUCH_CALL,
            "{number}"
        );
    }
    let mut lax = profile(vec![]);
    lax.set_default_action(LinuxSeccompAction::ScmpActAllow);
    let program = compile(&lax).unwrap();
    assert_eq!(run(&program, host(), 9999, [0; 6]), ALLOWED);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn programs_of_32_bits_have_their_own_numbers() {
    let allow = LinuxSeccompAction::ScmpActAllow;
    let mut both = profile(vec![rule(["getpid"], allow, None, vec![])]);
    let program = compile(&both).unwrap();
    assert_eq!(run(&program, Abi::I386, 20, [0; 6]), ALLOWED);
    assert_eq!(run(&program, Abi::I386, 39, [0; 6]), REFUSED);
    assert_eq!(run(&program, Abi::X86_64, 39, [0; 6]), ALLOWED);
    assert_eq!(run(&program, Abi::Aarch64, 172, [0; 6]), KILL_PROCESS);
    both.set_architectures(None);
    assert_eq!(
        run(&compile(&both).unwrap(), Abi::I386, 20, [0; 6]),
        KILL_PROCESS
    );
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let notify = LinuxSeccompAction::ScmpActNotify;
    let refused = compile(&profile(vec![rule(["read"], notify, None, vec![])]));
    assert_eq!(
        refused,
        Err(SeccompError::Unsupported {
            feature: "SCMP_ACT_NOTIFY"
        })
    );
    let allow = LinuxSeccompAction::ScmpActAllow;
    let sixth = vec![argument(6, ScmpCmpEq, 0, None)];
    let refused = compile(&profile(vec![rule(["read"], allow, None, sixth)]));
    assert_eq!(
        refused,
        Err(SeccompError::Argument {
            syscall: "read".to_owned(),
            index: 6
        })
    );
}
