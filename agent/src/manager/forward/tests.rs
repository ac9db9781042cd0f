use scheduler::control_plane::Reply;

use super::*;

fn not_leader(leader: Option<&str>) -> Outcome {
    Outcome::Answered(Err(Refusal::NotLeader {
        leader: leader.map(NodeId::new),
    }))
}

#[track_caller]
fn check(outcome: Outcome, hops: u32, expected: &str) {
    let step = match next(&outcome, &NodeId::new("own"), hops) {
        Next::Done => "done".to_owned(),
        Next::Ask(node) => format!("ask {node}"),
        Next::Again => "again".to_owned(),
    };
    assert_eq!(step, expected);
}

#[test]
fn a_command_goes_where_the_leader_is_and_not_in_circles() {
    check(not_leader(Some("b")), 0, "ask b");
    check(not_leader(Some("b")), HOPS, "again");
    check(not_leader(Some("own")), 1, "again");
    check(not_leader(None), 0, "again");
}

#[test]
fn what_may_have_been_carried_out_is_sent_again_under_the_same_id() {
    check(Outcome::Lost, 1, "again");
    check(Outcome::Answered(Err(Refusal::Stale)), 1, "again");
    check(Outcome::Answered(Err(Refusal::Unsettled)), 1, "again");
}

#[test]
fn a_leader_without_room_is_followed_by_another_but_ones_own_disk_is_said_to_be_full() {
    let full = || {
        let reason = "no space left".to_owned();
        Outcome::Answered(Err(Refusal::NoRoom { reason }))
    };
    check(full(), 1, "again");
    check(full(), 0, "done");
}

#[test]
fn an_answer_and_a_refusal_are_final() {
    let answer = Answer {
        reply: Reply::Done,
        revision: 7,
    };
    check(Outcome::Answered(Ok(answer)), 1, "done");
    let stack = "shop".to_owned();
    check(
        Outcome::Answered(Err(Refusal::UnknownStack { stack })),
        1,
        "done",
    );
    check(Outcome::Answered(Err(Refusal::NoMajority)), 1, "done");
}

#[test]
fn refusals_and_answers_survive_the_wire() {
    let results: [Result<Answer, Refusal>; 3] = [
        Ok(Answer {
            reply: Reply::Done,
            revision: 7,
        }),
        Err(Refusal::UnknownContent {
            kind: "secret".into(),
            name: "key".to_owned(),
        }),
        Err(Refusal::NotLeader {
            leader: Some(NodeId::new("b")),
        }),
    ];
    for result in results {
        let words = serde_json::to_vec(&result).unwrap();
        let read: Result<Answer, Refusal> = serde_json::from_slice(&words).unwrap();
        assert_eq!(read, result);
    }
}
