//! A cluster is drawn as `a:manager b:worker c:worker:down`, and what runs there as `b=web:1`.

use scheduler::model::container::ContainerSpec;
use scheduler::model::image::ImagePin;
use scheduler::model::service::{Service, ServiceSpec};
use scheduler::model::task::{TaskState, TaskStatus};
use scheduler::model::time::Timestamp;
use scheduler::state::{Batch, Change};
use serde_json::json;

use super::*;

fn state(nodes: &str, tasks: &str) -> State {
    let mut changes = Vec::new();
    for (number, node) in nodes.split_whitespace().enumerate() {
        let mut words = node.split(':');
        let (id, role) = (words.next().unwrap(), words.next().unwrap());
        let row = json!({
            "id": id, "role": role, "description": {}, "labels": {}, "availability": "active",
            "status": words.next().unwrap_or("ready"), "address": format!("10.0.0.{number}:2377"),
        });
        changes.push(Change::SetNode(Arc::new(
            serde_json::from_value(row).unwrap(),
        )));
    }
    for (number, task) in tasks.split_whitespace().enumerate() {
        let (node, image) = task.split_once('=').unwrap();
        let spec = Arc::new(ServiceSpec {
            container: Arc::new(ContainerSpec {
                pin: Some(ImagePin {
                    id: image.to_owned(),
                    digest: None,
                }),
                ..ContainerSpec::default()
            }),
            ..ServiceSpec::default()
        });
        let row = json!({
            "id": format!("s{number}"), "stack": null, "spec": *spec, "version": 1,
            "versions": {"1": *spec}, "halted": [], "stop": {}, "removal": null,
            "anonymous_volumes": "take_over", "virtual_addresses": {},
            "created_at": 0, "updated_at": 0,
        });
        let service: Service = serde_json::from_value(row).unwrap();
        changes.push(Change::SetService(Arc::new(service)));
        let mut status = TaskStatus::new(TaskState::Running, Timestamp::EPOCH, "");
        status.image_id = Some(image.into());
        let row = json!({
            "id": format!("t{number}"), "service": format!("s{number}"), "version": 1, "slot": 1,
            "container": format!("c{number}"), "name": "x", "node": node, "desired": "running",
            "status": status,
            "attachments": [], "restarts": 0, "failures": 0, "start_after": 0, "created_at": 0,
        });
        let task = serde_json::from_value(row).unwrap();
        changes.push(Change::SetTask(Arc::new(task)));
    }
    let mut state = State::default();
    let batch = Batch {
        changes,
        ..Batch::default()
    };
    state.apply(&batch).unwrap();
    state
}

#[test]
fn those_who_run_it_are_asked_first_then_managers_then_the_others() {
    let state = state(
        "a:manager b:worker c:worker d:worker:down e:manager f:worker",
        "c=x d=x f=y",
    );
    let named = |asker: &str| {
        let found = neighbours(&state, "x", &NodeId::new(asker));
        let names: Vec<String> = found.iter().map(|(node, _)| node.to_string()).collect();
        names.join(" ")
    };
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        seen.insert(named("b"));
    }
    let both = ["c a e f", "c e a f"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(both));
}

#[test]
fn a_worker_may_have_what_it_is_to_run_and_a_manager_everything() {
    let state = state("a:manager b:worker c:worker", "b=x");
    let may = |node: &str, image: &str| may_have(&state, &NodeId::new(node), image);
    assert!(may("a", "x") && may("a", "y"));
    assert!(may("b", "x"));
    assert!(!may("b", "y") && !may("c", "x") && !may("stranger", "x"));
}

#[test]
fn of_several_meanings_of_a_name_the_last_counts_whoever_asks() {
    let says = |node: &str, image: &str, updated: u64| {
        let pin = ImagePin {
            id: image.to_owned(),
            digest: None,
        };
        (Named { pin, updated }, NodeId::new(node))
    };
    let check = |mut answers: Vec<(Named, NodeId)>, expected: &str| {
        for _ in 0..2 {
            let found = last_named(answers.clone());
            let found = found.map(|(named, node)| format!("{} of {node}", named.pin.id));
            assert_eq!(found.as_deref().unwrap_or("none"), expected);
            answers.reverse();
        }
    };
    check(vec![], "none");
    check(vec![says("b", "1", 5), says("a", "2", 7)], "2 of a");
    check(vec![says("b", "1", 7), says("a", "2", 7)], "2 of a");
}
