use std::sync::Mutex;

use super::*;

/// Links that take nothing out of their queues.
#[derive(Default)]
struct Stuck(Mutex<Vec<mpsc::Receiver<Message>>>);

impl Links for Stuck {
    fn open(&self, _member: u64, queue: mpsc::Receiver<Message>, _notices: Notices) {
        self.0.lock().unwrap().push(queue);
    }
}

fn message(to: u64) -> Message {
    Message {
        to,
        ..Message::default()
    }
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let (mut outbox, mut reported) = Outbox::new(Some(Arc::new(Stuck::default())));
    for _ in 0..QUEUE {
        outbox.send(message(7));
    }
    assert!(reported.try_recv().is_err(), "everything fits");
    outbox.send(message(7));
    let said = reported.try_recv().unwrap();
    assert!(matches!(said, Input::Unreachable { member: 7 }), "{said:?}");
    outbox.send(message(8));
    assert!(
        reported.try_recv().is_err(),
        "another member has its own queue"
    );
}

#[test]
fn a_link_that_ended_is_opened_again() {
    let links = Arc::new(Stuck::default());
    let (mut outbox, mut reported) = Outbox::new(Some(links.clone()));
    outbox.send(message(7));
    links.0.lock().unwrap().clear();
    outbox.send(message(7));
    assert!(reported.try_recv().is_ok(), "the link has ended");
    outbox.send(message(7));
    assert_eq!(links.0.lock().unwrap().len(), 1);
}
