use super::*;

#[test]
fn what_is_sealed_opens_for_the_same_purpose_only() {
    let key = NodeKey::for_tests();
    let sealed = key.sealer("ledger").unwrap().seal(b"s3cret").unwrap();
    assert!(is_sealed(&sealed));
    assert!(!sealed.windows(6).any(|part| part == b"s3cret"));
    assert_eq!(
        key.sealer("ledger").unwrap().open(&sealed).unwrap(),
        b"s3cret"
    );
    let other = key.sealer("log").unwrap().open(&sealed);
    assert!(matches!(other, Err(SealError::NotOurs)));
}

#[test]
fn a_changed_bit_anywhere_is_noticed() {
    let sealer = NodeKey::for_tests().sealer("log").unwrap();
    let sealed = sealer.seal(b"a decision").unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealer.open(&changed).is_err(), "byte {at}");
        assert!(sealer.open(&sealed[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn the_key_is_made_once_and_is_for_its_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let first = NodeKey::open(root.path()).unwrap().sealer("x").unwrap();
    let again = NodeKey::open(root.path()).unwrap().sealer("x").unwrap();
    assert_eq!(again.open(&first.seal(b"it").unwrap()).unwrap(), b"it");
    let path = root.path().join("node.key");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = NodeKey::open(root.path());
    assert!(matches!(exposed, Err(SealError::Exposed { .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"short").unwrap();
    let damaged = NodeKey::open(root.path());
    assert!(matches!(damaged, Err(SealError::Damaged { length: 5, .. })));
}

#[test]
fn another_host_cannot_open_it() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sealer = |root: &Path| NodeKey::open(root).unwrap().sealer("x").unwrap();
    let sealed = sealer(here.path()).seal(b"it").unwrap();
    assert!(matches!(
        sealer(there.path()).open(&sealed),
        Err(SealError::NotOurs)
    ));
    assert!(matches!(
        sealer(here.path()).open(b"plain"),
        Err(SealError::NotSealed)
    ));
}
