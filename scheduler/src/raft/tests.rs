use super::*;

/// Runs events to their end, with a disk that never waits. Returns what was agreed on.
fn settle(raft: &mut Raft, mut events: Vec<Event>) -> (Vec<Entry>, Vec<Entry>) {
    let (mut written, mut committed) = (Vec::new(), Vec::new());
    while !events.is_empty() {
        let mut next = Vec::new();
        for event in events {
            match event {
                Event::Write(write) => {
                    written.extend(write.entries.iter().cloned());
                    next.extend(raft.persisted(write.number));
                }
                Event::Committed(entry) => committed.push(entry),
                Event::Send(_) | Event::Install { .. } | Event::Read { .. } => {}
            }
        }
        next.extend(raft.drain());
        events = next;
    }
    (written, committed)
}

#[test]
fn a_group_of_one_leads_at_once() {
    let mut raft = Raft::start(1, Restored::founded(1)).unwrap();
    assert!(raft.is_leader());
    let events = raft.drain();
    let (_, committed) = settle(&mut raft, events);
    assert_eq!(committed.len(), 1, "the leader's first entry");
    assert!(committed[0].data.is_empty());
}

#[test]
fn nothing_is_agreed_on_before_it_is_on_disk() {
    let mut raft = Raft::start(1, Restored::founded(1)).unwrap();
    let events = raft.drain();
    settle(&mut raft, events);
    raft.propose(b"a".to_vec()).unwrap();
    raft.propose(b"b".to_vec()).unwrap();
    let events = raft.drain();
    let writes: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Write(write) => Some(write.number),
            Event::Committed(entry) => panic!("{entry:?} is not on disk"),
            Event::Send(_) | Event::Install { .. } | Event::Read { .. } => None,
        })
        .collect();
    let events = raft.persisted(*writes.last().unwrap());
    let (_, committed) = settle(&mut raft, events);
    let data: Vec<&[u8]> = committed
        .iter()
        .map(|entry| entry.data.as_slice())
        .collect();
    assert_eq!(data, [b"a", b"b"]);
}

#[test]
fn a_start_brings_back_what_was_written() {
    let mut raft = Raft::start(1, Restored::founded(1)).unwrap();
    let events = raft.drain();
    let (mut written, _) = settle(&mut raft, events);
    for data in [b"a", b"b", b"c"] {
        raft.propose(data.to_vec()).unwrap();
        let events = raft.drain();
        written.extend(settle(&mut raft, events).0);
    }
    let vote = Vote {
        term: raft.term(),
        candidate: 1,
        commit: 0,
    };
    let restored = Restored {
        vote,
        entries: written.clone(),
        ..Restored::founded(1)
    };
    let mut again = Raft::start(1, restored.clone()).unwrap();
    let events = again.drain();
    let (_, committed) = settle(&mut again, events);
    let data: Vec<_> = committed
        .iter()
        .filter(|entry| !entry.data.is_empty())
        .collect();
    assert_eq!(data.len(), 3);

    // The same with the first two in a snapshot.
    let position = raft.position(3);
    let restored = Restored {
        snapshot: position,
        entries: written[3..].to_vec(),
        ..restored
    };
    let mut again = Raft::start(1, restored).unwrap();
    let events = again.drain();
    let (_, committed) = settle(&mut again, events);
    let data: Vec<_> = committed
        .iter()
        .filter(|entry| !entry.data.is_empty())
        .collect();
    assert_eq!(data.len(), 1);
    assert_eq!(data[0].data, b"c");
}

#[test]
fn a_gap_in_the_log_is_an_error() {
    let entry = Entry {
        index: 5,
        term: 1,
        kind: EntryKind::Batch,
        data: Vec::new(),
    };
    let restored = Restored {
        entries: vec![entry],
        ..Restored::default()
    };
    assert!(matches!(
        Raft::start(1, restored),
        Err(RaftError::Gap {
            expected: 1,
            found: 5
        })
    ));
}
