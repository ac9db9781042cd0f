//! What clients ask for: stacks that change, containers that must be made once, managers that come
//! and go.

use std::sync::Arc;
use std::time::Duration;

use scheduler::control_plane::Command;
use scheduler::control_plane::command::{DeployOptions, NodeUpdate, Volumes};
use scheduler::model::cluster::{Authority, Cluster, ClusterSettings, Secret};
use scheduler::model::container::{
    ContainerSpec, Mount, MountSource, NetworkAttachment, NetworkMode,
};
use scheduler::model::id::NodeId;
use scheduler::model::network::NetworkSpec;
use scheduler::model::node::{Availability, NodeDescription, Role};
use scheduler::model::service::{
    FailureAction, RestartCondition, ServiceMode, ServiceSpec, UpdateConfig, UpdateOrder,
};
use scheduler::model::stack::Stack;
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;

use crate::chance::Chance;

/// A wish, and the number in the label of the container that it leaves, if it does.
pub(crate) struct Wish {
    pub(crate) command: Command,
    pub(crate) label: Option<u64>,
}

pub(crate) fn node(host: usize) -> NodeId {
    NodeId::new(format!("n{host}"))
}

pub(crate) fn draw(chance: &mut Chance, number: u64) -> Wish {
    let command = match chance.index(8) {
        0..3 => {
            return Wish {
                command: container(number),
                label: Some(number),
            };
        }
        3..7 => Command::Deploy {
            stack: stack(chance, 400),
            options: DeployOptions::default(),
        },
        _ => Command::RemoveStack {
            stack: "shop".to_owned(),
            services: Vec::new(),
            volumes: Volumes::Keep,
            grace_seconds: None,
        },
    };
    Wish {
        command,
        label: None,
    }
}

/// Made up a name for, so that a second try makes a second one unless it is recognised.
pub(crate) fn container(number: u64) -> Command {
    let labels = [("command".to_owned(), number.to_string())].into();
    Command::CreateContainer {
        name: None,
        stack: None,
        spec: ServiceSpec {
            container: Arc::new(ContainerSpec {
                image: "busybox".to_owned(),
                labels,
                ..ContainerSpec::default()
            }),
            ..ServiceSpec::default()
        },
        node: None,
    }
}

/// An image that nobody can make a container of.
pub(crate) const BAD: &str = "bad";

/// What is to run in the end.
pub(crate) fn good() -> Wish {
    let mut chance = Chance::new(0);
    // Nothing is left out, so that what an earlier wish left behind is wanted and begins anew.
    let mut stack = stack(&mut chance, 0);
    for service in stack.services.values_mut() {
        let mut container = (*service.container).clone();
        container.image = "v1".to_owned();
        service.container = Arc::new(container);
    }
    let options = DeployOptions::default();
    Wish {
        command: Command::Deploy { stack, options },
        label: None,
    }
}

/// Of a thousand services so many are left out.
fn stack(chance: &mut Chance, omitted: u64) -> Stack {
    let mut stack = Stack {
        name: "shop".to_owned(),
        ..Stack::default()
    };
    let network = NetworkSpec {
        name: "shop_default".to_owned(),
        ..NetworkSpec::default()
    };
    stack.networks.insert("default".to_owned(), network);
    let data = VolumeSpec {
        name: "shop_data".to_owned(),
        ..VolumeSpec::default()
    };
    stack.volumes.insert("data".to_owned(), data);
    let image = |chance: &mut Chance| ["v1", "v2", "v3", BAD][chance.index(4)].to_owned();
    let replicas = 1 + chance.index(4) as u32;
    let replicated = |replicas| ServiceMode::Replicated { replicas };
    let batch = ServiceMode::ReplicatedJob {
        completions: 1 + chance.index(3) as u32,
        concurrent: chance.index(3) as u32,
    };
    let services = [
        ("web", replicated(replicas), None),
        ("db", replicated(1), Some("shop_data")),
        ("job", replicated(1), None),
        ("each", ServiceMode::Global, None),
        ("batch-job", batch, None),
        ("each-job", ServiceMode::GlobalJob, None),
    ];
    for (name, mode, volume) in services {
        // What is no job is updated now and then.
        if chance.happens(omitted) {
            continue;
        }
        let image = match name.ends_with("job") {
            true => "v1".to_owned(),
            false => image(chance),
        };
        let mut spec = service(name, image, mode, volume);
        spec.update = update(chance);
        stack.services.insert(name.to_owned(), spec);
    }
    stack
}

fn update(chance: &mut Chance) -> UpdateConfig {
    UpdateConfig {
        parallelism: chance.index(3) as u32,
        failure_action: match chance.index(3) {
            0 => FailureAction::Pause,
            1 => FailureAction::Continue,
            _ => FailureAction::Rollback,
        },
        monitor: Duration::from_millis(chance.between(0, 3000)),
        order: match chance.happens(500) {
            true => UpdateOrder::StartFirst,
            false => UpdateOrder::StopFirst,
        },
        ..UpdateConfig::default()
    }
}

fn service(name: &str, image: String, mode: ServiceMode, volume: Option<&str>) -> ServiceSpec {
    let mounts = volume.map(|volume| Mount {
        target: "/data".into(),
        read_only: false,
        source: MountSource::Volume {
            name: volume.to_owned(),
            no_copy: false,
            subpath: None,
        },
    });
    let container = ContainerSpec {
        image,
        network: NetworkMode::Attached(vec![NetworkAttachment {
            network: "shop_default".to_owned(),
            ..NetworkAttachment::default()
        }]),
        mounts: mounts.into_iter().collect(),
        ..ContainerSpec::default()
    };
    let mut spec = ServiceSpec {
        name: name.to_owned(),
        container: Arc::new(container),
        mode,
        ..ServiceSpec::default()
    };
    spec.restart.condition = match name.ends_with("job") {
        true => RestartCondition::OnFailure,
        false => RestartCondition::Always,
    };
    spec
}

pub(crate) fn register(host: usize) -> Command {
    Command::RegisterNode {
        node: node(host),
        description: NodeDescription::default(),
    }
}

pub(crate) fn init() -> Command {
    let secret = || Secret::new("secret");
    let cluster = Cluster {
        id: "cluster".to_owned(),
        epoch: 0,
        certificate_authority: Authority {
            certificate: String::new(),
            private_key: secret(),
            retiring: Vec::new(),
            id: String::new(),
            bridges: Vec::new(),
        },
        worker_token: secret(),
        manager_token: secret(),
        settings: ClusterSettings::default(),
        created: Timestamp::EPOCH,
    };
    Command::InitCluster {
        cluster: Box::new(cluster),
        node: node(0),
        address: ([10, 0, 0, 1], 2377).into(),
        public_key: "key".to_owned(),
    }
}

pub(crate) fn join(host: usize, role: Role) -> Command {
    Command::JoinNode {
        node: node(host),
        description: NodeDescription::default(),
        role,
        address: ([10, 0, 0, host as u8 + 1], 2377).into(),
        public_key: "key".to_owned(),
        availability: Availability::Active,
    }
}

pub(crate) fn make(host: usize, role: Role) -> Command {
    Command::UpdateNode {
        node: node(host).to_string(),
        update: NodeUpdate {
            role: Some(role),
            ..NodeUpdate::default()
        },
    }
}
