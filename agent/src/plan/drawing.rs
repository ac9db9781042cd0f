//! Tasks for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::AssignedTask;
use scheduler::model::container::ContainerSpec;
use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::service::RestartPolicy;
use scheduler::model::task::DesiredState;
use scheduler::model::time::Timestamp;

/// A task such as `web:1`: task 1 of container `web`.
pub(crate) fn task(id: &str, desired: DesiredState) -> AssignedTask {
    let container = id.split(':').next().unwrap();
    AssignedTask {
        shares_ports: false,
        resources: BTreeMap::new(),
        id: TaskId::new(id),
        container: ContainerId::new(container),
        name: container.into(),
        service: container.into(),
        stack: None,
        slot: 1,
        spec: Arc::new(ContainerSpec::default()),
        desired,
        stop: None,
        interfaces: Vec::new(),
        joins: BTreeMap::new(),
        replaces: None,
        restart: RestartPolicy::default(),
        restarts: 0,
        failures: 0,
        start_after: Timestamp::EPOCH,
        created_at: Timestamp::EPOCH,
    }
}
