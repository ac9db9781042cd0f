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
    let data: Vec<&[u8]> = committed.iter().map(|entry| &*entry.data).collect();
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
    assert_eq!(*data[0].data, *b"c");
}

#[test]
fn a_gap_in_the_log_is_an_error() {
    let entry = Entry {
        index: 5,
        term: 1,
        kind: EntryKind::Batch,
        data: Bytes::new(),
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

/// Three voters, with disks and a network that take no time.
struct Group(Vec<Raft>);

impl Group {
    fn of_three() -> Self {
        let start = |id| {
            let mut restored = Restored::default();
            restored.snapshot.members.voters = vec![1, 2, 3];
            Raft::start(id, restored).unwrap()
        };
        Self((1..=3).map(start).collect())
    }

    fn member(&mut self, id: u64) -> &mut Raft {
        let index = usize::try_from(id).unwrap() - 1;
        &mut self.0[index]
    }

    /// One tick for each, and the messages that are not lost.
    fn tick(&mut self, members: &[u64], is_lost: &mut impl FnMut(&Message) -> bool) {
        for id in members {
            self.member(*id).tick();
            let mut owners = vec![*id];
            while let Some(id) = owners.pop() {
                for event in self.member(id).drain() {
                    owners.extend(self.finish(id, event, members, is_lost));
                }
            }
        }
    }

    /// Whom an event of this member gives something to do.
    fn finish(
        &mut self,
        id: u64,
        event: Event,
        members: &[u64],
        is_lost: &mut impl FnMut(&Message) -> bool,
    ) -> Vec<u64> {
        match event {
            Event::Write(write) => {
                let events = self.member(id).persisted(write.number);
                let events = events.into_iter();
                let more = events.flat_map(|event| self.finish(id, event, members, is_lost));
                let more: Vec<u64> = more.collect();
                more.into_iter().chain([id]).collect()
            }
            Event::Send(message) if members.contains(&message.to) && !is_lost(&message) => {
                let to = message.to;
                self.member(to).step(*message).unwrap();
                vec![to]
            }
            Event::Send(_) | Event::Committed(_) | Event::Install { .. } | Event::Read { .. } => {
                Vec::new()
            }
        }
    }

    fn leader(&self, members: &[u64]) -> Option<u64> {
        let mut rafts = self.0.iter().filter(|it| members.contains(&it.id()));
        rafts.find(|it| it.is_leader()).map(Raft::id)
    }

    /// How many ticks after the death of its leader the group has another one.
    fn fails_over(&mut self, mut is_lost: impl FnMut(&Message) -> bool) -> usize {
        let all = [1, 2, 3];
        while self.leader(&all).is_none() {
            self.tick(&all, &mut |_| false);
        }
        for _ in 0..10 {
            self.tick(&all, &mut |_| false);
        }
        let dead = self.leader(&all);
        let others: Vec<u64> = all.into_iter().filter(|it| Some(*it) != dead).collect();
        (1..200)
            .find(|_| {
                self.tick(&others, &mut is_lost);
                self.leader(&others).is_some()
            })
            .unwrap()
    }
}

#[test]
fn a_dead_leader_is_followed_after_the_time_of_one_stand() {
    let ticks = Group::of_three().fails_over(|_| false);
    let soonest = FIRST_STAND - HEARTBEAT_TICKS;
    assert!((soonest..=FIRST_STAND).contains(&ticks), "{ticks}");
}

#[test]
fn a_question_that_is_lost_costs_little() {
    let mut asked = 0;
    let ticks = Group::of_three().fails_over(|message| {
        asked += usize::from(message.get_msg_type() == MessageType::MsgRequestPreVote);
        asked == 1
    });
    assert!(ticks <= FIRST_STAND + 2 * ASK_AGAIN, "{ticks}");
}

#[test]
fn a_vote_that_is_lost_costs_little() {
    let mut lost = 0;
    let ticks = Group::of_three().fails_over(|message| {
        let is_vote = message.get_msg_type() == MessageType::MsgRequestVote;
        lost += usize::from(is_vote);
        is_vote && lost <= 1
    });
    let again = STAND_AGAIN + 2 * ASK_AGAIN;
    assert!(ticks <= FIRST_STAND + again + 1, "{ticks}");
}
