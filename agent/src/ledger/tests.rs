use std::net::SocketAddr;

use scheduler::model::id::NodeId;

use super::*;
use crate::seal::NodeKey;

fn assignment(generation: u64) -> Assignment {
    let address: SocketAddr = "10.0.0.1:2377".parse().unwrap();
    Assignment {
        generation,
        managers: vec![(NodeId::new("n1"), address)],
        secrets: [("key".to_owned(), b"open sesame".to_vec())].into(),
        ..Assignment::default()
    }
}

fn ledger(directory: &Path) -> Ledger {
    let sealer = NodeKey::for_tests().sealer("ledger").unwrap();
    Ledger::open(directory, Arc::new(sealer)).unwrap()
}

#[test]
fn what_was_written_last_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path());
    assert_eq!(ledger.read().unwrap(), Remembered::default());
    ledger.write(&assignment(1)).unwrap();
    ledger.write(&assignment(2)).unwrap();
    let tally = Tally {
        restarts: 3,
        failures: 2,
    };
    let reruns = Reruns::from([(TaskId::new("t1"), tally)]);
    ledger.write_reruns(&reruns).unwrap();
    let read = self::ledger(directory.path()).read().unwrap();
    assert_eq!(read.assignment, Some(Arc::new(assignment(2))));
    assert_eq!(read.reruns, reruns);
    ledger.forget().unwrap();
    assert_eq!(ledger.read().unwrap(), Remembered::default());
}

#[test]
fn a_page_is_sealed_and_for_root_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    ledger(directory.path()).write(&assignment(1)).unwrap();
    let path = directory.path().join(ASSIGNMENT);
    let page = fs::read(&path).unwrap();
    let shown = String::from_utf8_lossy(&page).into_owned();
    assert!(!shown.contains("sesame") && !shown.contains("115,101,115"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[track_caller]
fn check_damage(change: impl Fn(&mut Vec<u8>), expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path());
    ledger.write(&assignment(1)).unwrap();
    let path = directory.path().join(ASSIGNMENT);
    let mut page = fs::read(&path).unwrap();
    change(&mut page);
    fs::write(&path, page).unwrap();
    let error = ledger.read().unwrap_err().to_string();
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_damaged_page_is_never_taken_for_an_assignment() {
    check_damage(|page| page.truncate(10), "it ends too early");
    check_damage(
        |page| page.truncate(page.len() - 1),
        "its checksum is wrong",
    );
    check_damage(
        |page| *page.last_mut().unwrap() ^= 1,
        "its checksum is wrong",
    );
    check_damage(
        |page| page[11] = b'7',
        "it was written by another version of wharfie",
    );
}

#[tokio::test]
async fn an_assignment_is_passed_on_when_it_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = ledger(directory.path());
    let (tell, told) = watch::channel(Arc::default());
    let mut kept = keep(ledger.clone(), None, told).told;
    tell.send_replace(Arc::new(assignment(7)));
    kept.wait_for(|kept| kept.generation == 7).await.unwrap();
    assert_eq!(ledger.read().unwrap().assignment.unwrap().generation, 7);

    // A host that stands alone has its log.
    let alone = Assignment {
        managers: Vec::new(),
        ..assignment(8)
    };
    tell.send_replace(Arc::new(alone));
    kept.wait_for(|kept| kept.generation == 8).await.unwrap();
    assert_eq!(ledger.read().unwrap().assignment.unwrap().generation, 7);
}
