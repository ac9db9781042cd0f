use super::*;

/// The names of the rules that hold, or the error.
#[track_caller]
fn check(json: &str, capabilities: CapabilitySet, expected: &str) {
    let text = match profile(json, capabilities) {
        Ok(profile) => profile
            .syscalls()
            .iter()
            .flatten()
            .map(|rule| rule.names().join(","))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    };
    assert_eq!(text, expected);
}

#[test]
fn rules_hold_by_capability_architecture_and_kernel() {
    let json = r#"{
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"name": "close", "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["never"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["s390"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
            {"names": ["here"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "arm64"]}}
        ]
    }"#;
    check(
        json,
        CapabilitySet::EMPTY,
        "read,write close clone3 ptrace here",
    );
    check(
        json,
        CapabilitySet::ALL,
        "read,write close mount ptrace here",
    );
}

#[test]
fn what_cannot_be_read_or_kept_is_refused() {
    check(
        "{}",
        CapabilitySet::EMPTY,
        "the seccomp profile is not valid: missing field `defaultAction` at line 1 column 2",
    );
    check(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}"#,
        CapabilitySet::EMPTY,
        "the seccomp profile uses listenerPath, which is not supported",
    );
}
