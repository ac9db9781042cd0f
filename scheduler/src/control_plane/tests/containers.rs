use std::sync::Arc;

use super::*;
use crate::model::container::{ContainerSpec, NetworkAttachment, NetworkMode};
use crate::model::id::ContainerId;
use crate::model::network::NetworkSpec;
use crate::model::service::{ServiceMode, ServiceSpec};
use crate::model::task::StopOrder;

fn create(world: &mut World, name: &str, auto_remove: bool) -> Result<ContainerId, Refusal> {
    let network = NetworkMode::Attached(vec![NetworkAttachment {
        network: "bridge".into(),
        ..NetworkAttachment::default()
    }]);
    let spec = ServiceSpec {
        container: Arc::new(ContainerSpec {
            image: "v1".into(),
            network,
            ..ContainerSpec::default()
        }),
        mode: ServiceMode::Standalone { auto_remove },
        ..ServiceSpec::default()
    };
    let command = Command::CreateContainer {
        name: Some(name.into()),
        stack: None,
        spec,
        node: None,
    };
    match world.command(command)? {
        Reply::ContainerCreated { id, .. } => Ok(id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_container_is_made_started_stopped_and_removed() {
    let mut world = World::new();
    let container = create(&mut world, "one", false).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "one.1 ready");
    let id = || container.clone();
    world
        .command(Command::StartContainer { container: id() })
        .unwrap();
    world.settle();
    assert_eq!(world.tasks(), "one.1 running");
    let refusal = world.command(Command::RemoveContainer {
        container: id(),
        running: RunningContainers::Spare,
        volumes: Volumes::Keep,
    });
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "container `one` is running"
    );
    let stop = Command::StopContainer {
        container: id(),
        order: StopOrder::default(),
    };
    world.command(stop).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "one.1 shutdown");
    world
        .command(Command::StartContainer { container: id() })
        .unwrap();
    world.settle();
    assert_eq!(world.tasks(), "one.1 running");
    let rename = Command::RenameContainer {
        container: id(),
        name: "two".into(),
    };
    world.command(rename).unwrap();
    assert_eq!(world.assignment.tasks[0].name, "two");
    let remove = Command::RemoveContainer {
        container: id(),
        running: RunningContainers::Kill,
        volumes: Volumes::Keep,
    };
    world.command(remove).unwrap();
    world.settle();
    assert!(world.plane.state().services.is_empty());
    assert!(world.assignment.tasks.is_empty());
}

#[test]
fn a_container_that_cleans_up_goes_when_it_has_ended() {
    let mut world = World::new();
    let container = create(&mut world, "one", true).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "one.1 ready", "not before it has run");
    world
        .command(Command::StartContainer { container })
        .unwrap();
    world.settle();
    world.crash("one", 0);
    world.settle();
    assert_eq!(world.tasks(), "");
}

#[test]
fn names_are_given_once() {
    let mut world = World::new();
    create(&mut world, "one", false).unwrap();
    assert_eq!(
        create(&mut world, "one", false).unwrap_err().to_string(),
        "container name `one` is already used by container `one`"
    );
    create(&mut world, "-x", false).unwrap_err();
}

#[test]
fn a_stack_container_stopped_by_hand_stays_stopped() {
    let mut world = World::new();
    world.up("web v1 x2 restart always").unwrap();
    world.settle();
    let container = world.container("shop-web-2");
    let order = StopOrder::default();
    world
        .command(Command::StopContainer { container, order })
        .unwrap();
    world.settle();
    world.wait(Duration::from_secs(60));
    world.settle();
    assert_eq!(world.tasks(), "web.1 running, web.2 shutdown");
}

#[test]
fn restarting_a_container_is_one_run_after_the_other() {
    let mut world = World::new();
    let container = create(&mut world, "one", false).unwrap();
    let id = || container.clone();
    world
        .command(Command::StartContainer { container: id() })
        .unwrap();
    world.settle();
    world.take_trace();
    let order = StopOrder::default();
    world
        .command(Command::RestartContainer {
            container: id(),
            order,
        })
        .unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "stop one | prepare one | start one");
}

#[test]
fn networks_are_made_used_and_removed() {
    let mut world = World::new();
    let spec = NetworkSpec {
        name: "front".into(),
        ..NetworkSpec::default()
    };
    world
        .command(Command::CreateNetwork { spec: spec.clone() })
        .unwrap();
    let again = world.command(Command::CreateNetwork { spec });
    assert_eq!(
        again.unwrap_err().to_string(),
        "network `front` already exists"
    );
    let subnets: Vec<String> = world
        .plane
        .state()
        .networks
        .values()
        .map(|network| {
            format!(
                "{} {} {}",
                network.spec.name, network.subnet, network.gateway
            )
        })
        .collect();
    assert!(
        subnets.contains(&"bridge 172.17.0.0/16 172.17.0.1".into()),
        "{subnets:?}"
    );
    assert!(
        subnets.contains(&"front 172.18.0.0/16 172.18.0.1".into()),
        "{subnets:?}"
    );
    create(&mut world, "one", false).unwrap();
    let remove = |network: &str| Command::RemoveNetwork {
        network: network.into(),
    };
    world.command(remove("bridge")).unwrap_err();
    world.command(remove("front")).unwrap();
}
