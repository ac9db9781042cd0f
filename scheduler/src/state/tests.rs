use super::*;
use crate::model::volume::{Volume, VolumeSpec};

fn batch(base: u64, name: &str) -> Batch {
    let volume = Volume {
        spec: VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        },
        stack: None,
        node: None,
        removing: false,
        created_at: Timestamp::EPOCH,
    };
    Batch {
        base,
        changes: vec![Change::SetVolume(Arc::new(volume))],
        answers: vec![(RequestId(name.into()), Reply::Done)],
        ..Batch::default()
    }
}

#[test]
fn a_batch_decided_on_another_state_is_refused_whole() {
    let mut state = State::default();
    state.apply(&batch(0, "a")).unwrap();
    let before = state.clone();
    let stale = StaleBatch {
        base: 0,
        version: 1,
    };
    assert_eq!(state.apply(&batch(0, "b")), Err(stale));
    assert!(state == before);
    state.apply(&batch(1, "b")).unwrap();
    assert_eq!(state.version, 2);
}

#[test]
fn a_reader_keeps_what_it_has_seen() {
    let mut state = State::default();
    state.apply(&batch(0, "a")).unwrap();
    let seen = state.clone();
    state.apply(&batch(1, "b")).unwrap();
    assert_eq!((seen.volumes.len(), state.volumes.len()), (1, 2));
    assert!(seen.nodes.is_same(&state.nodes), "copied only what changed");
}

#[test]
fn answers_are_remembered_for_a_while() {
    let mut state = State::default();
    for number in 0..600 {
        state.apply(&batch(number, &format!("r{number}"))).unwrap();
    }
    assert_eq!(state.answer(&RequestId("r599".into())), Some(&Reply::Done));
    assert_eq!(state.answer(&RequestId("r0".into())), None);
}
