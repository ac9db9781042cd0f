use super::*;

fn entry(index: u64, data: &str) -> Entry {
    Entry {
        index,
        term: 1,
        kind: EntryKind::Batch,
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// A log with one frame per text, and the offsets at which the frames begin.
fn log(dir: &Path, texts: &[&str]) -> (PathBuf, Vec<u64>) {
    let path = dir.join("wal");
    let (mut wal, _) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
    let mut offsets = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        offsets.push(wal.length);
        wal.append_entry(&entry(number as u64 + 1, text));
        wal.sync().unwrap();
    }
    (path, offsets)
}

fn texts(records: &Records) -> Vec<String> {
    let text = |entry: &Entry| String::from_utf8_lossy(&entry.data).into_owned();
    records.entries.iter().map(text).collect()
}

#[test]
fn what_was_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = log(dir.path(), &["one", "two"]);
    let (mut wal, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
    assert_eq!(texts(&records), ["one", "two"]);
    let vote = Vote {
        term: 7,
        candidate: 1,
        commit: 2,
    };
    wal.append_vote(&vote);
    wal.append_entry(&entry(2, "another two"));
    wal.sync().unwrap();
    let (_, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
    assert_eq!(texts(&records), ["one", "another two"]);
    assert_eq!(records.vote, Some(vote));
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let (path, offsets) = log(dir.path(), &["one", "two", "three"]);
    let whole = fs::read(&path).unwrap();
    let last = usize::try_from(offsets[2]).unwrap();
    for length in last..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (mut wal, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
        assert_eq!(texts(&records), ["one", "two"], "{length}");
        wal.append_entry(&entry(3, "again"));
        wal.sync().unwrap();
        let (_, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
        assert_eq!(texts(&records), ["one", "two", "again"], "{length}");
    }
}

#[test]
fn sectors_that_were_never_written_are_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(4000);
    let (path, offsets) = log(dir.path(), &["one", &long]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1024..1536].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (wal, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
    assert_eq!(texts(&records), ["one"]);
    assert_eq!(wal.length, offsets[1]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, offsets) = log(dir.path(), &["one", "two", "three"]);
    let whole = fs::read(&path).unwrap();
    let last = usize::try_from(offsets[2]).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let byte = bit / 8;
        match Wal::open(&path, &NodeKey::for_tests()) {
            Err(WalError::Damaged { offset, .. }) => assert!(offset <= byte, "{bit}"),
            Err(other) => panic!("{other}"),
            // A longer length looks like a write that was not finished.
            Ok((_, records)) => {
                assert!(
                    (last..last + 4).contains(&byte),
                    "{bit}: {:?}",
                    texts(&records)
                );
            }
        }
    }
}

#[test]
fn a_rewritten_log_has_only_what_it_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = log(dir.path(), &["one", "two"]);
    let mut wal = Wal::rewrite(
        &path,
        &NodeKey::for_tests(),
        &Base::default(),
        &Vote::default(),
        &[entry(2, "two")],
    )
    .unwrap();
    wal.append_entry(&entry(3, "three"));
    wal.sync().unwrap();
    let (_, records) = Wal::open(&path, &NodeKey::for_tests()).unwrap();
    assert_eq!(texts(&records), ["two", "three"]);
}

#[test]
fn nothing_of_the_log_can_be_read_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = log(dir.path(), &["the password is swordfish"]);
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"swordfish"));
    let other = tempfile::tempdir().unwrap();
    let stolen = Wal::open(&path, &NodeKey::open(other.path()).unwrap());
    assert!(matches!(stolen, Err(WalError::Damaged { .. })));
}

#[test]
fn a_log_of_the_time_before_seals_is_read_and_sealed_when_it_is_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wal");
    let mut plain = Vec::new();
    put_entry(&mut plain, &entry(1, "swordfish"));
    fs::write(&path, frame(&plain).unwrap()).unwrap();
    let key = NodeKey::for_tests();
    let (_, records) = Wal::open(&path, &key).unwrap();
    assert_eq!(texts(&records), ["swordfish"]);

    Wal::rewrite(
        &path,
        &key,
        &records.base,
        &Vote::default(),
        &records.entries,
    )
    .unwrap();
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"swordfish"));
    // Nobody puts a frame in clear behind it.
    let mut forged = bytes;
    forged.extend(frame(&plain).unwrap());
    fs::write(&path, forged).unwrap();
    assert!(matches!(
        Wal::open(&path, &key),
        Err(WalError::Damaged { .. })
    ));
}
