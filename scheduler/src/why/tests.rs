use super::*;
use crate::control_plane::Command;
use crate::control_plane::tests::world::World;
use crate::model::node::NodeDescription;

/// `web: 1 of 2`, then what waits, what each node says, and the failures.
fn describe(why: &Why) -> String {
    let mut lines = vec![format!(
        "{}: {} of {}",
        why.service, why.running, why.wanted
    )];
    let waiting = why.waiting.iter();
    lines.extend(waiting.map(|it| format!("{} waits: {}", it.name, it.reason)));
    lines.extend(why.unaskable.clone());
    lines.extend(why.nodes.iter().map(|it| {
        let word = it.objection.as_deref().unwrap_or("could take it");
        format!("{} ({}): {word}", it.node, it.running)
    }));
    let failures = why.failures.iter();
    lines.extend(failures.map(|it| {
        let node = it.node.as_deref().unwrap_or("nowhere");
        format!("{} failed on {node}: {:?}", it.name, it.exit_code)
    }));
    lines.join("\n")
}

#[track_caller]
fn check(world: &World, expected: &str) {
    let why = of(world.plane.state(), "shop", "web").unwrap();
    assert_eq!(describe(&why), expected);
}

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

#[test]
fn each_node_says_what_speaks_against_it() {
    let mut world = World::new();
    join(&mut world, "n2");
    let mut stack = crate::control_plane::tests::world::stack("shop", "web v1");
    for spec in stack.services.values_mut() {
        spec.placement.constraints = vec!["node.labels.zone==a".to_owned()];
    }
    let options = crate::control_plane::command::DeployOptions::default();
    world.command(Command::Deploy { stack, options }).unwrap();
    world.settle();
    check(
        &world,
        "web: 0 of 1\n\
         shop-web-1 waits: no node can run it: 2 without `node.labels.zone==a`\n\
         n1 (0): without `node.labels.zone==a`\n\
         n2 (0): without `node.labels.zone==a`",
    );
}

#[test]
fn a_service_that_runs_could_run_elsewhere_too() {
    let mut world = World::new();
    world.up("web v1 x2").unwrap();
    world.settle();
    check(&world, "web: 2 of 2\nn1 (2): could take it");
    assert_eq!(of(world.plane.state(), "shop", "db"), None);
}

#[test]
fn the_last_failures_are_told_with_their_exit_codes() {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    world.crash("shop-web-1", 3);
    world.settle();
    check(
        &world,
        "web: 0 of 1\n\
         shop-web-1 waits: exit code 3\n\
         n1 (0): could take it\n\
         shop-web-1 failed on n1: Some(3)",
    );
}
