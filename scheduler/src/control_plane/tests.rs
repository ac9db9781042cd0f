pub(crate) mod world;

mod containers;
mod deploying;
mod safety;

use std::time::Duration;

use super::command::*;
use super::*;
use crate::model::task::HealthStatus;
use world::{Fate, World};

/// Brings a stack up, and says what the node did and what came of it.
#[track_caller]
fn check_up(drawing: &str, fates: &[(&str, Fate)], trace: &str, tasks: &str) {
    let mut world = World::new();
    for (service, fate) in fates {
        world.fate(service, fate.clone());
    }
    world.up(drawing).unwrap();
    world.settle();
    assert_eq!(world.take_trace(), trace);
    assert_eq!(world.tasks(), tasks);
}

#[test]
fn services_come_up_at_once_where_nothing_is_in_the_way() {
    check_up(
        "web v1 x2\ndb v1",
        &[],
        "prepare shop-db-1, prepare shop-web-1, prepare shop-web-2 \
         | start shop-db-1, start shop-web-1, start shop-web-2",
        "db.1 running, web.1 running, web.2 running",
    );
}

#[test]
fn a_dependent_waits_for_health_and_says_so() {
    check_up(
        "web v1 needs db:healthy\ndb v1",
        &[("db", Fate::Health(HealthStatus::Starting))],
        "prepare shop-db-1 | start shop-db-1",
        "db.1 running, web.1 pending (waiting for db to be healthy (probe 2/3: connection refused))",
    );
    check_up(
        "web v1 needs db:healthy\ndb v1",
        &[("db", Fate::Health(HealthStatus::Healthy))],
        "prepare shop-db-1 | start shop-db-1 | prepare shop-web-1 | start shop-web-1",
        "db.1 running, web.1 running",
    );
}

#[test]
fn a_dependent_waits_for_completion() {
    check_up(
        "web v1 needs migrate:completed\nmigrate v1",
        &[("migrate", Fate::Exit(0))],
        "prepare shop-migrate-1 | start shop-migrate-1 | exit shop-migrate-1 \
         | prepare shop-web-1 | start shop-web-1",
        "migrate.1 complete, web.1 running",
    );
}

#[test]
fn a_failed_dependency_is_named_all_the_way_up() {
    check_up(
        "web v1 needs api:started\napi v1 needs migrate:completed\nmigrate v1",
        &[("migrate", Fate::Exit(3))],
        "prepare shop-migrate-1 | start shop-migrate-1 | exit shop-migrate-1",
        "api.1 pending (dependency migrate failed: exit code 3), migrate.1 failed, \
         web.1 pending (dependency migrate failed: exit code 3)",
    );
}

#[test]
fn down_ends_dependents_first_and_leaves_nothing() {
    let mut world = World::new();
    world
        .up("web v1 needs api:started\napi v1 needs db:started\ndb v1 volume data")
        .unwrap();
    world.settle();
    world.take_trace();
    world.down(Volumes::Keep);
    world.settle();
    assert_eq!(
        world.take_trace(),
        "stop shop-web-1 | remove shop-web-1, stop shop-api-1 \
         | remove shop-api-1, stop shop-db-1 | remove shop-db-1"
    );
    let state = world.plane.state();
    assert!(state.services.is_empty() && state.tasks.is_empty() && state.stacks.is_empty());
    assert_eq!(state.networks.len(), 1, "the network `bridge` stays");
    assert_eq!(state.volumes.len(), 1, "data stays");
}

#[test]
fn down_with_volumes_deletes_them_after_their_users() {
    let mut world = World::new();
    world.up("db v1 volume data").unwrap();
    world.settle();
    world.down(Volumes::Delete);
    world.settle();
    assert!(world.plane.state().volumes.is_empty());
}

#[test]
fn down_takes_networks_of_the_project_that_no_deployment_made() {
    let mut world = World::new();
    let label = ("com.docker.compose.project".into(), "shop".into());
    let spec = crate::model::network::NetworkSpec {
        name: "shop_default".into(),
        labels: std::iter::once(label).collect(),
        ..Default::default()
    };
    world.command(Command::CreateNetwork { spec }).unwrap();
    world.down(Volumes::Keep);
    world.settle();
    assert_eq!(world.plane.state().networks.len(), 1, "`bridge` stays");
}

#[test]
fn stop_and_start_keep_the_container() {
    let mut world = World::new();
    world
        .up("web v1 needs db:started restart always\ndb v1")
        .unwrap();
    world.settle();
    let before = world.container("shop-web-1");
    world.take_trace();
    let stop = Command::StopServices {
        stack: "shop".into(),
        services: Vec::new(),
        grace_seconds: None,
    };
    world.command(stop).unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "stop shop-web-1 | stop shop-db-1");
    world.wait(Duration::from_secs(100));
    world.settle();
    assert_eq!(world.tasks(), "db.1 shutdown, web.1 shutdown");
    let start = Command::StartServices {
        stack: "shop".into(),
        services: vec!["web".into()],
    };
    world.command(start).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
    assert_eq!(world.container("shop-web-1"), before);
}

#[test]
fn restart_ends_a_run_before_it_begins_the_next() {
    let mut world = World::new();
    world.up("web v1 needs db:started+restart\ndb v1").unwrap();
    world.settle();
    let before = world.container("shop-db-1");
    world.take_trace();
    let restart = Command::RestartServices {
        stack: "shop".into(),
        services: vec!["db".into()],
        grace_seconds: Some(1),
        dependents: Dependents::Restart,
    };
    world.command(restart).unwrap();
    world.settle();
    let trace = world.take_trace();
    assert!(
        trace.starts_with("stop shop-db-1, stop shop-web-1 | "),
        "{trace}"
    );
    assert!(trace.ends_with("start shop-web-1"), "{trace}");
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
    assert_eq!(world.container("shop-db-1"), before);
}

#[test]
fn kill_does_not_wait_for_dependents() {
    let mut world = World::new();
    world.up("web v1 needs db:started\ndb v1").unwrap();
    world.settle();
    world.take_trace();
    let kill = Command::KillServices {
        stack: "shop".into(),
        services: Vec::new(),
        signal: "SIGKILL".into(),
    };
    world.command(kill).unwrap();
    world.settle();
    assert_eq!(world.take_trace().matches('|').count(), 0);
    assert_eq!(world.tasks(), "db.1 shutdown, web.1 shutdown");
}

#[test]
fn rm_takes_what_is_stopped_and_up_brings_it_back() {
    let mut world = World::new();
    world.fate("job", Fate::Exit(0));
    world.up("web v1\njob v1").unwrap();
    world.settle();
    let rm = Command::RemoveStopped {
        stack: "shop".into(),
        services: Vec::new(),
        running: RunningContainers::Spare,
        volumes: Volumes::Keep,
    };
    world.command(rm).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "web.1 running");
    world.up("web v1\njob v1").unwrap();
    world.settle();
    assert_eq!(world.tasks(), "job.1 complete, web.1 running");
}

#[test]
fn scaling_down_removes_the_highest_slots() {
    let mut world = World::new();
    world.up("web v1 x3").unwrap();
    world.settle();
    let scale = Command::ScaleServices {
        stack: "shop".into(),
        replicas: [("web".to_owned(), 1)].into(),
    };
    world.command(scale).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "web.1 running");
}

#[test]
fn a_container_that_keeps_failing_waits_longer_each_time() {
    let mut world = World::new();
    world.up("web v1 restart always").unwrap();
    world.settle();
    let mut waits = Vec::new();
    for _ in 0..5 {
        world.crash("shop-web-1", 1);
        let task = world.assignment.tasks[0].clone();
        waits.push(task.start_after.since(world.now).as_millis());
        world.wait(Duration::from_secs(60));
        world.now = task.start_after;
        world.settle();
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600]);
    // A good run breaks the row.
    world.wait(Duration::from_secs(11));
    world.crash("shop-web-1", 1);
    let task = world.assignment.tasks[0].clone();
    assert_eq!(task.start_after.since(world.now).as_millis(), 100);
    assert_eq!(task.restarts, 6);
}
