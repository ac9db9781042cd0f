use super::*;
use crate::control_plane::command::DeployOptions;
use crate::control_plane::tests::world::{Fate, World};
use crate::model::node::Role;
use crate::model::task::{HealthStatus, TaskState, TaskStatus};
use crate::state::{Batch, Change};

/// `name → addresses` on the stack's network, without container names, and what stands for several.
fn names(world: &World) -> String {
    let networks = &world.assignment.networks;
    let network = networks
        .iter()
        .find(|it| it.name == "shop_default")
        .unwrap();
    let end = |it: &std::net::IpAddr| {
        let text = it.to_string();
        text.rsplit('.').next().unwrap_or_default().to_owned()
    };
    let last = |addresses: &[std::net::IpAddr]| {
        let ends: Vec<String> = addresses.iter().map(end).collect();
        ends.join(" ")
    };
    let mut lines: Vec<String> = network
        .names
        .iter()
        .filter(|(name, _)| ["web", "db", "tasks.web"].contains(&name.as_str()))
        .map(|(name, addresses)| format!("{name} → {}", last(addresses)))
        .collect();
    for shared in &network.virtual_addresses {
        let address = end(&shared.address);
        lines.push(format!("{address} = {}", last(&shared.backends)));
    }
    lines.join(", ")
}

#[test]
fn a_single_container_is_found_while_it_runs() {
    let mut world = World::new();
    world.up("db v1").unwrap();
    assert_eq!(names(&world), "");
    world.settle();
    assert_eq!(names(&world), "db → 2");
    world.crash("shop-db-1", 1);
    assert_eq!(names(&world), "");
}

#[test]
fn one_that_is_ill_is_better_than_none() {
    let mut world = World::new();
    world.fate("db", Fate::Health(HealthStatus::Unhealthy));
    world.up("db v1").unwrap();
    world.settle();
    assert_eq!(names(&world), "db → 2");
}

#[test]
fn several_are_behind_one_address_and_only_healthy_ones_serve() {
    let mut world = World::new();
    world.fate("web", Fate::Health(HealthStatus::Healthy));
    world.up("web v1 x2").unwrap();
    world.settle();
    assert_eq!(names(&world), "tasks.web → 3 4, web → 2, 2 = 3 4");
    let task = world.assignment.tasks[0].clone();
    let known = world.plane.state().tasks[&task.id].status.clone();
    let mut health = known.health.clone().unwrap();
    health.status = HealthStatus::Unhealthy;
    let status = TaskStatus {
        health: Some(health),
        ..known
    };
    world.say(&task, status);
    assert_eq!(names(&world), "tasks.web → 4, web → 2, 2 = 4");
}

#[test]
fn what_is_told_to_end_serves_no_more() {
    let mut world = World::new();
    world.up("web v1 x2").unwrap();
    world.settle();
    let container = world.container("shop-web-2");
    let order = crate::model::task::StopOrder::default();
    world
        .command(crate::control_plane::Command::StopContainer { container, order })
        .unwrap();
    assert_eq!(names(&world), "tasks.web → 3, web → 2, 2 = 3");
}

#[test]
fn containers_carry_the_labels_that_tools_look_for() {
    let mut world = World::new();
    world.up("web v1 needs db:healthy\ndb v1").unwrap();
    world.fate("db", Fate::Health(HealthStatus::Healthy));
    world.settle();
    let state = world.plane.state();
    let mut tasks = state.tasks.values();
    let web = tasks.find(|task| task.name == "shop-web-1").unwrap();
    let service = state.service_of(web).unwrap();
    let labels = labels(state, service, spec_of(state, web).unwrap(), web);
    let label = |name: &str| labels[&format!("com.docker.compose.{name}")].as_str();
    assert_eq!(label("project"), "shop");
    assert_eq!(label("service"), "web");
    assert_eq!(label("container-number"), "1");
    assert_eq!(label("oneoff"), "False");
    assert_eq!(label("depends_on"), "db:service_healthy:false");
    assert_eq!(label("config-hash").len(), 64);
    assert_eq!(labels["dev.wharfie.node"], "n1");
}

#[test]
fn nothing_is_told_twice() {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    let told = world.assignment.clone();
    // What only people look at is no news for the node.
    let task = world.assignment.tasks[0].clone();
    let mut status = world.plane.state().tasks[&task.id].status.clone();
    assert_eq!(status.state, TaskState::Running);
    status.pid = Some(7);
    world.say(&task, status);
    assert!(Arc::ptr_eq(&told, &world.assignment));
    assert!(told.generation < world.plane.state().version);
}

/// Makes a change, and says which nodes have something new to hear.
fn tell(announcer: &mut Announcer, state: &mut State, change: Change) -> String {
    let before = state.clone();
    let batch = Batch {
        base: state.version,
        at: state.at,
        changes: vec![change],
        answers: Vec::new(),
    };
    state.apply(&batch).unwrap();
    let touched = Touched::by(&batch.changes, &before, state);
    let nodes = announcer.news(state, touched).into_iter();
    let nodes: Vec<String> = nodes.map(|node| node.to_string()).collect();
    nodes.join(" ")
}

#[test]
fn only_who_has_something_new_to_hear_is_told() {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    let mut state = world.plane.state().clone();
    let mut announcer = Announcer::default();
    assert_eq!(announcer.news(&state, Touched::default()).len(), 1);
    let mut other = (**state.nodes.values().next().unwrap()).clone();
    other.id = NodeId::new("n2");
    let told = tell(
        &mut announcer,
        &mut state,
        Change::SetNode(other.clone().into()),
    );
    assert_eq!(told, "n2");
    other.labels.insert("disk".to_owned(), "ssd".to_owned());
    let told = tell(
        &mut announcer,
        &mut state,
        Change::SetNode(other.clone().into()),
    );
    assert_eq!(told, "");
    other.role = Role::Worker;
    let told = tell(&mut announcer, &mut state, Change::SetNode(other.into()));
    assert_eq!(told, "n2");
    let task = (**state.tasks.values().next().unwrap()).clone();
    let order = Change::Desire(task.id.clone(), DesiredState::Shutdown, None);
    assert_eq!(tell(&mut announcer, &mut state, order.clone()), "n1");
    assert_eq!(tell(&mut announcer, &mut state, order), "");
    let gone = Change::ForgetContainer(task.container);
    assert_eq!(tell(&mut announcer, &mut state, gone), "n1");
    let generation = announcer.announced().number(&NodeId::new("n1"));
    assert_eq!(generation, Some((0, state.version)));
}

#[test]
fn a_login_is_told_only_while_there_is_something_to_pull_with_it() {
    let mut world = World::new();
    let login = |registry: &str, text: &str| (registry.to_owned(), Secret::new(text));
    let options = DeployOptions {
        logins: [login("ghcr.io", "one"), login("quay.io", "another")].into(),
        ..DeployOptions::default()
    };
    let drawing = "web ghcr.io/web:1\ndb postgres:15";
    world.up_with(drawing, options).unwrap();
    let told = |world: &World| {
        let logins = world.assignment.logins.values();
        logins.map(|it| it.reveal().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&world), ["one"]);
    world.settle();
    assert!(told(&world).is_empty());
    // It is remembered for containers to come.
    world.up("web ghcr.io/web:2\ndb postgres:15").unwrap();
    assert_eq!(told(&world), ["one"]);
}
