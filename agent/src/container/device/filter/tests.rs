use super::super::{DeviceRule, default_rules};
use super::*;

/// Runs a program as the kernel would; `None` when it does something that it must not.
fn run(program: &[u64], context: [u32; 3]) -> Option<u64> {
    let mut registers = [0u64; 11];
    let mut at = 0usize;
    for _ in 0..10_000 {
        let bytes = program.get(at)?.to_ne_bytes();
        let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
        let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
        let constant = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let narrow = registers[to] as u32;
        let mut jump = false;
        match bytes[0] {
            LOAD_U32 => registers[to] = context[offset as usize / 4].into(),
            MOVE => registers[to] = registers[from],
            MOVE_IMMEDIATE => registers[to] = i64::from(constant) as u64,
            AND_IMMEDIATE => registers[to] &= i64::from(constant) as u64,
            SHIFT_RIGHT => registers[to] >>= constant,
            JUMP_UNLESS_EQUAL => jump = narrow != constant as u32,
            JUMP_IF_ANY_BIT => jump = narrow & constant as u32 != 0,
            JUMP => jump = true,
            EXIT => return Some(registers[0]),
            _ => return None,
        }
        at = at.checked_add_signed(if jump { isize::from(offset) + 1 } else { 1 })?;
    }
    None
}

/// `access` is a rule's text: the kind, numbers and permissions that are asked for.
#[track_caller]
fn check(rules: &[&str], access: &str, expected: &str) {
    let mut filter = default_rules();
    for text in rules {
        let (verdict, text) = match text.strip_prefix('!') {
            Some(text) => (Verdict::Deny, text),
            None => (Verdict::Allow, *text),
        };
        filter.push(DeviceRule {
            verdict,
            ..DeviceRule::parse(text).unwrap()
        });
    }
    let asked = DeviceRule::parse(access).unwrap();
    let kind = if asked.kind == DeviceKind::Block {
        BLOCK
    } else {
        CHAR
    } as u32;
    let context = [
        u32::from(asked.permissions.bits()) << 16 | kind,
        asked.major.unwrap(),
        asked.minor.unwrap(),
    ];
    let answer = match run(&program(&filter), context) {
        Some(1) => "allowed",
        Some(0) => "denied",
        other => panic!("{other:?}"),
    };
    assert_eq!(answer, expected, "{access}");
}

#[test]
fn only_harmless_devices_can_be_opened() {
    check(&[], "c 1:3 rw", "allowed");
    check(&[], "c 136:7 rw", "allowed");
    check(&[], "b 254:0 r", "denied");
    check(&[], "c 1:1 r", "denied");
    check(&[], "c 10:229 rw", "denied");
    check(&[], "b 1:3 r", "denied");
}

#[test]
fn nodes_can_be_made_but_not_opened() {
    check(&[], "b 254:0 m", "allowed");
    check(&[], "b 254:0 rm", "denied");
}

#[test]
fn permissions_of_several_rules_add_up() {
    check(&["c 10:200 r"], "c 10:200 rw", "denied");
    check(&["c 10:200 r", "c 10:* w"], "c 10:200 rw", "allowed");
}

#[test]
fn the_last_rule_that_names_a_permission_wins() {
    check(&["c 10:* rwm", "!c 10:229 w"], "c 10:229 r", "allowed");
    check(&["c 10:* rwm", "!c 10:229 w"], "c 10:229 rw", "denied");
    check(&["!c 10:229 w", "c 10:* rwm"], "c 10:229 rw", "allowed");
    check(&["a *:* rwm"], "b 254:0 rwm", "allowed");
}

#[test]
fn the_kernel_accepts_the_program() {
    load(&program(&default_rules())).unwrap();
    load(&program(&[DeviceRule::all(Verdict::Allow)])).unwrap();
    load(&program(&[])).unwrap();
}

/// A cgroup of the unified tree, which hosts with cgroup v1 mount beside the others.
struct Unified(std::path::PathBuf);

impl Unified {
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let name = format!("wharfie-test-{:016x}", rand::random::<u64>());
        let path = std::path::Path::new(line.split(' ').nth(4)?).join(name);
        // Read-only in a container that the tests run in.
        std::fs::create_dir(&path).ok().map(|()| Self(path))
    }

    /// Runs a line of shell in it.
    fn run(&self, line: &str) -> String {
        let line = format!("echo 0 > {}/cgroup.procs; {line}", self.0.display());
        shell(&line)
    }
}

impl Drop for Unified {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn shell(line: &str) -> String {
    let ran = std::process::Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {line}")])
        .output();
    String::from_utf8(ran.unwrap().stdout).unwrap()
}

#[test]
fn the_kernel_asks_the_program_that_was_attached() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    let open = format!("dd if={} of=/dev/null count=0", node.display());
    // The kernel's log.
    let make = format!("mknod {} c 1 11", node.display());
    let (Some(cgroup), "") = (Unified::new(), shell(&make).as_str()) else {
        return;
    };
    if shell(&open).contains("dd: ") {
        // Not even root may, here.
        return;
    }
    let directory = std::fs::File::open(&cgroup.0).unwrap();
    let filter = load(&program(&default_rules())).unwrap();
    attach(
        std::os::fd::AsFd::as_fd(&directory),
        std::os::fd::AsFd::as_fd(&filter),
    )
    .unwrap();
    let said = cgroup.run(&open);
    assert!(said.contains("Operation not permitted"), "{said}");
    let other = scratch.path().join("other");
    let said = cgroup.run(&format!(
        "mknod {0} c 1 5 && head -c 1 {0} | wc -c",
        other.display()
    ));
    assert_eq!(said.trim(), "1");
    // Outside nothing has changed.
    assert!(!shell(&open).contains("dd: "));
}
