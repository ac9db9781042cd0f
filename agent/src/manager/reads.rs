//! Those who want to see everything that was agreed on up to now: many of them are one question.
//!
//!     asked ─► waiting ─► a question to the group ─► agreed, and applied here ─► all of them are told
//!                  ▲            │ one at a time
//!                  └────────────┘ who comes meanwhile is part of the next one: the group may have
//!                                 agreed on something since the question was put

use std::collections::BTreeMap;
use std::time::Duration;

use scheduler::control_plane::Refusal;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A question that is lost is put again by the control plane; others need not wait for that.
const NEXT_AFTER: Duration = Duration::from_millis(200);

type Reply = oneshot::Sender<Result<(), Refusal>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Vec<Reply>,
    asked: BTreeMap<u64, Question>,
    /// Questions whose answer has come.
    answered: Vec<u64>,
}

#[derive(Debug)]
struct Question {
    since: Instant,
    replies: Vec<Reply>,
}

impl Reads {
    pub(super) fn wait(&mut self, reply: Reply) {
        self.waiting.push(reply);
    }

    /// Whether a question is to be put now: under this id, which nobody else may use.
    pub(super) fn next(&mut self, now: Instant, id: u64) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        self.asked
            .retain(|_, it| it.replies.iter().any(|reply| !reply.is_closed()));
        let mut asked = self.asked.values();
        if asked.any(|question| now < question.since + NEXT_AFTER) {
            return None;
        }
        let replies = std::mem::take(&mut self.waiting);
        let question = Question {
            since: now,
            replies,
        };
        self.asked.insert(id, question);
        Some(id)
    }

    /// What was asked has come; it is passed on with [`Self::tell`].
    pub(super) fn answer(&mut self, id: u64) {
        self.answered.push(id);
    }

    /// The state that the answers belong to can be seen.
    pub(super) fn tell(&mut self) {
        for id in self.answered.drain(..) {
            let question = self.asked.remove(&id);
            for reply in question.into_iter().flat_map(|it| it.replies) {
                // Whoever asked may have left.
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// Nothing will come any more.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        let asked = std::mem::take(&mut self.asked).into_values();
        let waiting = std::mem::take(&mut self.waiting);
        for reply in asked.flat_map(|it| it.replies).chain(waiting) {
            let _ = reply.send(Err(refusal.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_while_a_question_is_under_way_waits_for_the_next_one() {
        let now = Instant::now();
        let mut reads = Reads::default();
        assert_eq!(reads.next(now, 1), None);
        let (first, mut one) = oneshot::channel();
        let (second, mut two) = oneshot::channel();
        let (third, mut three) = oneshot::channel();
        reads.wait(first);
        reads.wait(second);
        assert_eq!(reads.next(now, 1), Some(1));
        reads.wait(third);
        assert_eq!(reads.next(now, 2), None);
        reads.answer(1);
        assert!(one.try_recv().is_err(), "the state is not published yet");
        reads.tell();
        assert!(one.try_recv().is_ok() && two.try_recv().is_ok());
        assert!(three.try_recv().is_err());
        assert_eq!(reads.next(now, 2), Some(2));
        reads.answer(2);
        reads.tell();
        assert!(three.try_recv().is_ok());
    }

    #[test]
    fn a_lost_question_holds_nobody_up() {
        let now = Instant::now();
        let mut reads = Reads::default();
        let (first, _one) = oneshot::channel();
        let (second, _two) = oneshot::channel();
        reads.wait(first);
        assert_eq!(reads.next(now, 1), Some(1));
        reads.wait(second);
        assert_eq!(reads.next(now, 2), None);
        assert_eq!(reads.next(now + NEXT_AFTER, 2), Some(2));
    }
}
