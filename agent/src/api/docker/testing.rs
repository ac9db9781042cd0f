//! States drawn as text, for tests: one run a line, `c running exit=3 health=healthy`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use scheduler::model::id::{ContainerId, ServiceId, TaskId};
use scheduler::model::rollout::Rollout;
use scheduler::model::service::{AnonymousVolumes, Service, ServiceMode, ServiceSpec};
use scheduler::model::task::{
    DesiredState, Health, StopOrder, Task, TaskState, TaskStatus, WaitsFor,
};
use scheduler::model::time::Timestamp;
pub(crate) use scheduler::state::State;
use scheduler::state::{Batch, Change};

/// One container made on its own for each name; a repeated name is a later run of it.
pub(crate) fn draw(drawing: &str) -> State {
    let mut changes = Vec::new();
    let lines = drawing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    for (number, line) in lines.enumerate() {
        let (name, words) = line.split_once(' ').unwrap();
        changes.push(Change::SetService(Arc::new(service(name))));
        changes.push(Change::SetTask(Arc::new(task(name, number, words))));
    }
    let mut state = State::default();
    let batch = Batch {
        changes,
        ..Batch::default()
    };
    state.apply(&batch).unwrap();
    state
}

fn service(name: &str) -> Service {
    let mut spec = ServiceSpec {
        name: name.into(),
        mode: ServiceMode::Standalone { auto_remove: false },
        ..ServiceSpec::default()
    };
    Arc::make_mut(&mut spec.container).image = "bb:1".into();
    Service {
        id: ServiceId::new(name),
        stack: None,
        spec: Arc::new(spec),
        version: 1,
        versions: BTreeMap::new(),
        halted: BTreeSet::new(),
        stop: StopOrder::default(),
        removal: None,
        rollout: Rollout::default(),
        anonymous_volumes: AnonymousVolumes::TakeOver,
        virtual_addresses: BTreeMap::new(),
        virtual_addresses_ipv6: BTreeMap::new(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

fn task(name: &str, number: usize, words: &str) -> Task {
    let second = |second: u64| Timestamp::from_nanos(second * 1_000_000_000);
    let number = u64::try_from(number).unwrap();
    let mut task = Task {
        id: TaskId::new(format!("{number:04}")),
        container: ContainerId::new(name),
        service: ServiceId::new(name),
        slot: 1,
        name: name.into(),
        version: 1,
        node: None,
        desired: DesiredState::Running,
        stop: None,
        status: TaskStatus::new(TaskState::New, second(1), "as drawn"),
        attachments: Vec::new(),
        waits_for: WaitsFor::default(),
        replaces: None,
        failures: 0,
        restarts: 0,
        avoids: None,
        condemned: None,
        resources: BTreeMap::new(),
        start_after: Timestamp::EPOCH,
        created_at: second(1),
    };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            None => task.status.state = serde_json::from_value(word.into()).unwrap(),
            Some(("exit", code)) => task.status.exit_code = code.parse().ok(),
            Some(("desired", desired)) => {
                task.desired = serde_json::from_value(desired.into()).unwrap();
            }
            Some(("name", name)) => task.name = name.into(),
            Some(("health", status)) => {
                task.status.health = Some(Box::new(Health {
                    status: serde_json::from_value(status.into()).unwrap(),
                    failing_streak: 0,
                    retries: 3,
                    last_probe: None,
                }));
            }
            Some(_) => unreachable!("{word}"),
        }
    }
    if task.status.state >= TaskState::Running && task.status.state != TaskState::Rejected {
        task.status.started_at = Some(second(2));
    }
    if task.status.state.is_terminal() {
        task.status.finished_at = Some(second(3));
    }
    task
}
