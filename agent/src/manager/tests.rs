use std::path::Path;

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
    })
}

/// The lock of the manager before goes with its task, a moment after the last handle.
async fn start_again(dir: &Path) -> ManagerHandle {
    for _ in 0..1000 {
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

#[tokio::test(flavor = "multi_thread")]
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
