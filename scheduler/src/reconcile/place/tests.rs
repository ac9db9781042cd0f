use super::*;
use crate::control_plane::command::DeployOptions;
use crate::control_plane::tests::world::{World, stack};
use crate::control_plane::{Command, carry_out};
use crate::model::node::NodeDescription;
use crate::reconcile::{Memory, reconcile};
use crate::state::draft::IdGenerator;

fn join(world: &mut World, name: &str) {
    let command = Command::RegisterNode {
        node: NodeId::new(name),
        description: NodeDescription {
            hostname: name.into(),
            ..NodeDescription::default()
        },
    };
    world.command(command).unwrap();
}

#[track_caller]
fn check(constraints: &[&str], expected: &str) {
    let mut world = World::new();
    join(&mut world, "n1");
    join(&mut world, "n2");
    world.up("web v1").unwrap();
    let state = world.plane.state();
    let mut service = (**state.services.values().next().unwrap()).clone();
    let spec = Arc::make_mut(&mut service.spec);
    spec.placement.constraints = constraints.iter().map(|&text| text.into()).collect();
    let mut task = (**state.tasks.values().next().unwrap()).clone();
    task.node = None;
    let found = match place(state, &service, &task) {
        Ok(node) => node.to_string(),
        Err(why) => why.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn constraints_choose_the_node() {
    check(&["node.hostname == n2"], "n2");
    check(&["node.hostname!=n1", "node.labels.zone != a"], "n2");
    check(
        &["node.labels.zone==a"],
        "no node can run it: 2 without `node.labels.zone==a`",
    );
    check(
        &["node.colour==red"],
        "no node can run it: constraint `node.colour==red` compares `node.colour`, \
         which nodes do not have",
    );
    check(
        &["fast"],
        "no node can run it: constraint `fast` has neither `==` nor `!=`",
    );
}

#[test]
fn containers_are_spread_and_volumes_are_followed() {
    let mut world = World::new();
    join(&mut world, "n2");
    world.up("web v1 x4\ndb v1 volume data").unwrap();
    let state = world.plane.state();
    let on = |name: &str| state.node_tasks(&NodeId::new(name)).count();
    assert_eq!((on("n1") + on("n2"), on("n1").abs_diff(on("n2"))), (5, 1));
    let home = state.volumes["shop_data"].node.clone();
    let db = state.service_named("shop", "db").unwrap().id.clone();
    assert_eq!(state.service_tasks(&db).next().unwrap().node, home);
}

#[track_caller]
fn check_suspecting(suspects: &[&str], drawing: &str, expected: &str) {
    let mut world = World::new();
    join(&mut world, "n2");
    let mut ids = IdGenerator::new([3; 32]);
    let suspects = suspects.iter().map(|name| NodeId::new(*name)).collect();
    let mut draft = Draft::new(world.plane.state(), &mut ids, world.now).suspecting(suspects);
    let command = Command::Deploy {
        stack: stack("shop", drawing),
        options: DeployOptions::default(),
    };
    carry_out(&mut draft, command).unwrap();
    reconcile(&mut draft, &mut Memory::default());
    let tasks = draft.state().tasks.values();
    let shown = tasks.map(|task| match task.status.state {
        TaskState::Assigned => format!("{} on {}", task.name, task.node.as_ref().unwrap()),
        _ => format!("{}: {}", task.name, task.status.reason),
    });
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    assert_eq!(shown.join("; "), expected);
}

#[test]
fn a_node_that_has_been_silent_for_a_moment_gets_nothing_new() {
    check_suspecting(&["n2"], "web v1 x2", "shop-web-1 on n1; shop-web-2 on n1");
    let nowhere = "no node can run it: 2 not heard of for a moment";
    check_suspecting(&["n1", "n2"], "web v1", &format!("shop-web-1: {nowhere}"));
    let here = "no node can run it: 1 not heard of for a moment";
    check_suspecting(
        &["n2"],
        "web v1 global",
        &format!("shop-web-1 on n1; shop-web-2: {here}"),
    );
}
