//! A node and a manager of one process, as on a host that stands alone.

use std::path::Path;

use scheduler::control_plane::Command;
use scheduler::model::node::Role;
use scheduler::model::task::DesiredState;

use super::*;
use crate::identity::tests::{authority, identity};
use crate::manager::{self, Manager, ManagerHandle, Start};
use crate::plan::drawing;

const PATIENCE: Duration = Duration::from_secs(60);

fn node() -> NodeId {
    NodeId::new("n1")
}

async fn manager(dir: &Path) -> ManagerHandle {
    let config = manager::Config {
        dir: dir.to_owned(),
        node: node(),
        key: crate::seal::NodeKey::for_tests(),
        start: Start::Found,
        links: None,
    };
    let manager = Manager::start(config).unwrap();
    let register = Command::RegisterNode {
        node: node(),
        description: NodeDescription::default(),
    };
    manager.command(register).await.unwrap();
    manager
}

fn hello(description: NodeDescription) -> Hello {
    Hello {
        version: VERSION,
        node: node(),
        description,
        address: None,
        epoch: 0,
        generation: 0,
    }
}

/// Both ends of an attending node.
struct Ends {
    assignments: watch::Receiver<Arc<Assignment>>,
    contact: watch::Receiver<Contact>,
    reports: mpsc::Sender<Said>,
}

fn attends(own: Option<Leader>) -> Ends {
    let (assign, assignments) = watch::channel(Arc::default());
    let (tell, contact) = watch::channel(Contact::Lost);
    let (reports, said) = mpsc::channel(8);
    tokio::spawn(attend(Attendance {
        node: node(),
        description: NodeDescription::default(),
        managers: Vec::new(),
        found: watch::channel(Vec::new()).1,
        identities: watch::channel(None).1,
        peers: Peers::new(watch::channel(None).1),
        own,
        accepted: (0, 0),
        assignments: assign,
        contact: tell,
        reports: said,
    }));
    Ends {
        assignments,
        contact,
        reports,
    }
}

impl Ends {
    async fn contact(&mut self, wanted: Contact) {
        let reached = self.contact.wait_for(|contact| *contact == wanted);
        timeout(PATIENCE, reached).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_host_that_stands_alone_attends_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let mut ends = attends(Some(Leader::new(manager.clone(), Arc::default())));
    ends.contact(Contact::Open { session: 1 }).await;
    let told = ends.assignments.wait_for(|told| told.generation > 0);
    timeout(PATIENCE, told).await.unwrap().unwrap();

    // What is said in another session is not passed on; what is said in this one is taken.
    let version = manager.state().version;
    let said = |session| Said {
        session,
        report: Report::default(),
    };
    ends.reports.send(said(7)).await.unwrap();
    ends.reports.send(said(1)).await.unwrap();
    assert!(manager.state().version >= version);
}

#[tokio::test]
async fn without_any_manager_a_node_is_silent_after_a_while() {
    let mut ends = attends(None);
    assert_eq!(*ends.contact.borrow(), Contact::Lost);
    ends.contact(Contact::Silent).await;
}

#[tokio::test]
async fn the_newest_session_of_a_node_closes_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let leader = Leader::new(manager(dir.path()).await, Arc::default());
    let hello = || hello(NodeDescription::default());
    let (first, other) = pipe::within_process();
    tokio::spawn(leader.clone().serve(node(), other));
    let Knocked::Welcome(mut first) = greet(first, hello(), None).await else {
        panic!("it is not welcome");
    };
    let (second, other) = pipe::within_process();
    tokio::spawn(leader.clone().serve(node(), other));
    let Knocked::Welcome(_second) = greet(second, hello(), None).await else {
        panic!("it is not welcome");
    };
    let closed = async { while first.pipe.receive.recv().await.is_some() {} };
    timeout(PATIENCE, closed).await.unwrap();

    let (stranger, other) = pipe::within_process();
    tokio::spawn(leader.serve(NodeId::new("n2"), other));
    let refused = greet(stranger, hello(), None).await;
    assert!(matches!(refused, Knocked::Refused(_)));
}

#[tokio::test]
async fn what_a_session_says_of_its_node_is_written_down_again_when_older_words_overtook_it() {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path()).await;
    let described = |cpu_millis: u64| NodeDescription {
        cpu_millis,
        ..NodeDescription::default()
    };
    let (session, other) = pipe::within_process();
    tokio::spawn(Leader::new(manager.clone(), Arc::default()).serve(node(), other));
    let Knocked::Welcome(_open) = greet(session, hello(described(8)), None).await else {
        panic!("it is not welcome");
    };
    let mut states = manager.states();
    let mut settles = async || {
        let known = states.wait_for(|state| state.nodes[&node()].description == described(8));
        timeout(PATIENCE, known).await.unwrap().unwrap();
    };
    settles().await;
    let late = Command::RegisterNode {
        node: node(),
        description: described(4),
    };
    manager.command(late).await.unwrap();
    settles().await;
}

#[tokio::test]
async fn a_session_ends_when_the_certificate_is_signed_by_another_than_was_said() {
    let authority = authority();
    let identity = Arc::new(identity(&authority, "n1", Role::Worker));
    let welcome = Welcome {
        heartbeat_millis: 0,
        suspect_after_millis: 1000,
    };
    // It was renewed between the hello and the welcome.
    for (shown, ends) in [("", true), (identity.authority.as_str(), false)] {
        let (_ends, mut attending) = attending();
        attending.given.identities = watch::channel(Some(identity.clone())).1;
        let (pipe, _other) = pipe::within_process();
        let open = Open {
            pipe,
            welcome,
            peer: None,
            shown: shown.to_owned(),
        };
        let stayed = timeout(Duration::from_millis(500), attending.stay(open)).await;
        assert_eq!(stayed.is_ok(), ends, "it said `{shown}`");
    }
}

/// One that has a session, and what it is to be spoken to by.
fn attending() -> (Ends, Attending) {
    let (assign, assignments) = watch::channel(Arc::<Assignment>::default());
    let (tell, contact) = watch::channel(Contact::Lost);
    let (reports, said) = mpsc::channel(8);
    let attending = Attending {
        search: Search::default(),
        session: 1,
        silent_at: Instant::now(),
        given: Attendance {
            node: node(),
            description: NodeDescription::default(),
            managers: Vec::new(),
            found: watch::channel(Vec::new()).1,
            identities: watch::channel(None).1,
            peers: Peers::new(watch::channel(None).1),
            own: None,
            accepted: (1, 5),
            assignments: assign,
            contact: tell,
            reports: said,
        },
    };
    let ends = Ends {
        assignments,
        contact,
        reports,
    };
    (ends, attending)
}

/// A manager of its own making at the other end of a connection.
#[tokio::test]
async fn an_assignment_is_accepted_only_when_it_is_newer() {
    let (ends, mut attending) = attending();
    let mut tell = |epoch, generation| {
        let task = drawing::task("web:1", DesiredState::Running);
        attending.accept(Arc::new(Assignment {
            epoch,
            generation,
            tasks: vec![Arc::new(task)],
            ..Assignment::default()
        }));
        ends.assignments.borrow().number()
    };
    assert_eq!(tell(1, 4), (0, 0));
    assert_eq!(tell(0, 9), (0, 0));
    // What is remembered is confirmed.
    assert_eq!(tell(1, 5), (1, 5));
    assert_eq!(tell(1, 7), (1, 7));
    assert_eq!(tell(1, 6), (1, 7));
    assert_eq!(tell(2, 1), (2, 1));
}
