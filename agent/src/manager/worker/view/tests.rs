use std::net::Ipv4Addr;

use scheduler::assignment::AssignedInterface;
use scheduler::model::container::ContainerSpec;
use scheduler::model::id::{NetworkId, NodeId};
use scheduler::model::node::{Availability, NodeDescription, NodeStatus, Role};
use scheduler::model::task::DesiredState;

use super::*;
use crate::plan::drawing;

fn node() -> Arc<Node> {
    Arc::new(Node {
        id: NodeId::new("n1"),
        description: NodeDescription::default(),
        labels: BTreeMap::new(),
        availability: Availability::Active,
        role: Role::Worker,
        status: NodeStatus::Ready,
        status_reason: String::new(),
        status_since: Timestamp::EPOCH,
        address: None,
        public_key: String::new(),
        down_after_millis: None,
        cut_off: Default::default(),
    })
}

/// Task such as `web:1` of stack `shop`, in a slot.
fn assigned(id: &str, slot: u32) -> Arc<AssignedTask> {
    let mut task = drawing::task(id, DesiredState::Running);
    task.stack = Some("shop".to_owned());
    task.slot = slot;
    task.spec = Arc::new(ContainerSpec {
        image: format!("image-of-{id}"),
        ..ContainerSpec::default()
    });
    task.interfaces.push(AssignedInterface {
        network: NetworkId::new("net"),
        name: "eth0".to_owned(),
        address: [10, 1, 0, 7].into(),
        prefix_len: 24,
        mac: "02:42:0a:01:00:07".to_owned(),
        default_gateway: None,
        ipv6: None,
        link_local: Vec::new(),
    });
    Arc::new(task)
}

#[test]
fn containers_of_this_node_are_found_by_stack_and_service() {
    let told = Assignment {
        generation: 7,
        tasks: vec![assigned("web:1", 1), assigned("db:3", 1)],
        ..Assignment::default()
    };
    let running = TaskStatus::new(TaskState::Running, Timestamp::EPOCH, "");
    let web = told.tasks[0].clone();
    let seen = Arc::new(BTreeMap::from([(web.id.clone(), running)]));
    let state = view(&node(), &told, &seen);

    let service = state.service_named("shop", "web").unwrap();
    assert_eq!(service.spec.mode, ServiceMode::Replicated { replicas: 1 });
    assert_eq!(state.stack_services("shop").count(), 2);
    assert_eq!(state.service_tasks(&service.id).count(), 1);
    let task = state.container(&web.container).unwrap();
    assert_eq!(task.attachments[0].address, Ipv4Addr::new(10, 1, 0, 7));
    assert_eq!(state.nodes.len(), 1);
}

#[test]
fn what_was_not_seen_yet_is_assigned() {
    let told = Assignment {
        tasks: vec![assigned("web:1", 1)],
        ..Assignment::default()
    };
    let state = view(&node(), &told, &Statuses::default());
    let task = state.tasks.values().next().unwrap();
    assert_eq!(task.status.state, TaskState::Assigned);
}

#[test]
fn each_state_has_another_version() {
    let mut shown = State::new((*node()).clone());
    let (told, seen) = (Arc::default(), Statuses::default());
    assert!(shown.is_outdated(&told, &seen));
    assert_eq!(shown.of(&told, &seen).version, 1);
    assert!(!shown.is_outdated(&told, &seen));
    assert!(shown.is_outdated(&Arc::default(), &seen));
}
