use super::*;

fn complete() -> Facts {
    Facts {
        root: true,
        kernel: Some((6, 1)),
        nft: true,
        overlay: true,
        bridge: true,
        veth: true,
        controllers: Some(CONTROLLERS.map(|(name, _)| name.to_owned()).into()),
    }
}

/// Changes a complete host, and names what is then lacking and weak, by the words it begins with.
#[track_caller]
fn check(change: impl FnOnce(&mut Facts), expected_lacking: &[&str], expected_weak: &[&str]) {
    let mut facts = complete();
    change(&mut facts);
    for (found, expected) in [
        (lacking(&facts), expected_lacking),
        (weak(&facts), expected_weak),
    ] {
        let fits = found.len() == expected.len()
            && (found.iter().zip(expected)).all(|(lack, words)| lack.what.starts_with(words));
        assert!(fits, "{found:?} is not {expected:?}");
        assert!(found.iter().all(|lack| lack.remedy.ends_with('.')));
    }
}

#[test]
fn each_thing_that_is_missing_is_named() {
    check(|_| {}, &[], &[]);
    check(|facts| facts.nft = false, &["the program `nft`"], &[]);
    check(|facts| facts.overlay = false, &["overlayfs"], &[]);
    check(|facts| facts.bridge = false, &["bridges"], &[]);
    check(|facts| facts.veth = false, &["virtual interface"], &[]);
    check(|facts| facts.controllers = None, &["control groups"], &[]);
    check(
        |facts| {
            facts.controllers.as_mut().unwrap().remove("memory");
        },
        &[],
        &["the cgroup controller `memory`"],
    );
    check(
        |facts| (facts.nft, facts.overlay) = (false, false),
        &["the program `nft`", "overlayfs"],
        &[],
    );
}

#[test]
fn an_old_kernel_is_refused_and_a_strange_name_is_not() {
    for (kernel, expected) in [
        (Some((5, 11)), &["Linux 5.12 or later: this is 5.11"][..]),
        (Some((4, 19)), &["Linux 5.12 or later: this is 4.19"]),
        (Some((5, 12)), &[]),
        (Some((6, 0)), &[]),
        (None, &[]),
    ] {
        check(|facts| facts.kernel = kernel, expected, &[]);
    }
    assert_eq!(version("6.1.0-56-cloud-amd64"), Some((6, 1)));
    assert_eq!(version("5.12"), Some((5, 12)));
    assert_eq!(version("custom"), None);
}

#[test]
fn for_anybody_but_root_only_that_is_said() {
    check(
        |facts| (facts.root, facts.nft) = (false, false),
        &["root"],
        &[],
    );
}

#[test]
fn the_machine_that_runs_the_tests_has_everything() {
    assert_eq!(lacking(&Facts::probe()), []);
}

#[test]
fn everything_is_said_at_once_with_what_to_do() {
    let facts = Facts {
        nft: false,
        ..complete()
    };
    assert_eq!(
        sentence(&lacking(&facts)),
        "this host lacks what a node needs\n  the program `nft`\n    Install the package `nftables`."
    );
}
