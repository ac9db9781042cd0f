use std::path::Path;

use bytes::Bytes;
use scheduler::control_plane::Reply;
use scheduler::control_plane::command::DeployOptions;
use scheduler::model::node::NodeDescription;
use scheduler::model::service::ServiceSpec;
use scheduler::model::stack::Stack;
use scheduler::model::task::{TaskState, TaskStatus};
use scheduler::model::volume::VolumeSpec;

use super::*;

fn start(dir: &Path) -> Result<ManagerHandle, ManagerError> {
    Manager::start(Config {
        dir: dir.to_owned(),
        node: node(),
        key: NodeKey::for_tests(),
        start: Start::Found,
        links: None,
    })
}

/// The lock of the manager before goes with its task, a moment after the last handle.
async fn start_again(dir: &Path) -> ManagerHandle {
    // A minute.
    for _ in 0..30_000 {
        match start(dir) {
            Err(ManagerError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
            other => return other.unwrap(),
        }
    }
    panic!("the manager before does not end");
}

fn node() -> NodeId {
    NodeId::new("n1")
}

fn volume(name: String) -> Command {
    Command::CreateVolume {
        spec: VolumeSpec {
            name,
            ..VolumeSpec::default()
        },
    }
}

fn register() -> Command {
    Command::RegisterNode {
        node: node(),
        description: NodeDescription::default(),
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let manager = start(dir.path()).unwrap();
    manager.command(register()).await.unwrap();
    for number in 0..20 {
        let answer = manager.command(volume(format!("v{number}"))).await.unwrap();
        let state = manager.state();
        assert!(state.version >= answer.revision);
        assert!(
            state.volumes.contains_key(&format!("v{number}")),
            "a reader sees what it wrote"
        );
    }
    let before = manager.state();
    drop(manager);
    let manager = start_again(dir.path()).await;
    manager.command(register()).await.unwrap();
    assert!(
        *manager.state() == *before,
        "the same state, to the last row"
    );
}

#[tokio::test]
async fn a_second_manager_in_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _manager = start(dir.path()).unwrap();
    assert!(matches!(
        start(dir.path()),
        Err(ManagerError::Locked { .. })
    ));
}

#[tokio::test]
async fn a_long_log_becomes_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let manager = start(dir.path()).unwrap();
    manager.command(register()).await.unwrap();
    // Each in its own batch: the next is sent when the one before is answered.
    for number in 0..2100 {
        manager
            .command(volume(format!("v{}", number % 10)))
            .await
            .unwrap();
        let name = format!("v{}", number % 10);
        manager
            .command(Command::RemoveVolume { name })
            .await
            .unwrap();
    }
    let before = manager.state();
    drop(manager);
    let manager = start_again(dir.path()).await;
    manager.command(register()).await.unwrap();
    assert!(*manager.state() == *before);
    assert!(dir.path().join("snapshot").exists());
    let log = std::fs::metadata(dir.path().join("wal")).unwrap().len();
    assert!(log < 2_000_000, "{log} bytes");
}

fn stack(services: u32) -> Stack {
    let mut stack = Stack {
        name: "shop".into(),
        ..Stack::default()
    };
    for number in 0..services {
        let name = format!("s{number}");
        let spec = ServiceSpec {
            name: name.clone(),
            ..ServiceSpec::default()
        };
        stack.services.insert(name, spec);
    }
    stack
}

/// A node that says of every task that it runs, one report a task, all at once.
async fn run_everything(manager: &ManagerHandle) -> usize {
    let assignment = manager.assignments().borrow().clone();
    for task in &assignment.tasks {
        let now = Timestamp::from_nanos(1);
        let status = TaskStatus {
            started_at: Some(now),
            ..TaskStatus::new(TaskState::Running, now, "")
        };
        let report = Report {
            tasks: vec![(task.id.clone(), status)],
            ..Report::default()
        };
        manager.report(node(), report).await;
    }
    assignment.tasks.len()
}

/// On one thread, so that the reports wait together and not as long as the disk happens to take.
#[tokio::test]
async fn many_reports_become_few_batches() {
    let dir = tempfile::tempdir().unwrap();
    let manager = start(dir.path()).unwrap();
    manager.command(register()).await.unwrap();
    let deploy = Command::Deploy {
        stack: stack(200),
        options: DeployOptions::default(),
    };
    let answer = manager.command(deploy).await.unwrap();
    assert!(matches!(answer.reply, Reply::Deployed { changed, .. } if changed.len() == 200));
    assert_eq!(run_everything(&manager).await, 200);
    let mut states = manager.states();
    let all = states.wait_for(|state| {
        state
            .tasks
            .values()
            .all(|task| task.status.state == TaskState::Running)
    });
    let state = all.await.unwrap().clone();
    assert!(
        state.version - answer.revision < 60,
        "{} batches",
        state.version - answer.revision
    );
}

#[tokio::test]
async fn what_a_member_was_sent_survives_a_restart_and_voids_the_log_before_it() {
    use super::disk::{Disk, Done};
    use scheduler::raft::{Entry, EntryKind, Members, Position, Vote, Write};

    let dir = tempfile::tempdir().unwrap();
    let beginning = Beginning::Join { number: 7 };
    let (done, mut written) = mpsc::unbounded_channel();
    let (disk, restored, _) =
        Disk::open(dir.path(), &NodeKey::for_tests(), beginning, done).unwrap();
    assert!(
        restored.snapshot.members.is_empty(),
        "nobody has told it yet"
    );
    let entry = |index, term| Entry {
        index,
        term,
        kind: EntryKind::Batch,
        data: Bytes::from_static(b"x"),
    };
    let vote = Vote {
        term: 5,
        candidate: 0,
        commit: 40,
    };
    let position = Position {
        index: 40,
        term: 4,
        members: Members {
            voters: vec![1, 2],
            learners: vec![7],
            ..Members::default()
        },
    };
    // Entries that nobody agreed on reach beyond the state that was sent.
    let write = |number, entries: Vec<Entry>| Write {
        number,
        vote: Some(vote),
        entries: entries.into(),
    };
    disk.write(write(1, vec![entry(41, 2), entry(42, 2)]));
    while !matches!(written.recv().await, Some(Done::Written { number: 1 })) {}
    let old_log = std::fs::read(dir.path().join("wal"));
    let mut state = State::default();
    state.version = 9;
    disk.install(position.clone(), Box::new(state));
    disk.write(write(2, vec![entry(41, 5)]));
    drop(disk);
    while !matches!(written.recv().await, Some(Done::Written { number: 2 })) {}
    while written.recv().await.is_some() {}
    let (done, mut written) = mpsc::unbounded_channel();
    let (disk, restored, state) =
        Disk::open(dir.path(), &NodeKey::for_tests(), beginning, done).unwrap();
    assert_eq!((restored.vote, &restored.snapshot), (vote, &position));
    assert_eq!(restored.entries, [entry(41, 5)]);
    assert_eq!(state.version, 9);
    drop(disk);
    while written.recv().await.is_some() {}

    // As after a power cut between the snapshot and the log that follows on it.
    std::fs::write(dir.path().join("wal"), old_log.unwrap()).unwrap();
    let (done, _written) = mpsc::unbounded_channel();
    let (_disk, restored, _) =
        Disk::open(dir.path(), &NodeKey::for_tests(), beginning, done).unwrap();
    assert_eq!(restored.snapshot, position);
    assert_eq!(restored.entries, []);
}
