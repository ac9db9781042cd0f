use std::sync::Arc;

use super::*;
use crate::model::container::{Mount, MountSource};
use crate::model::id::{NodeId, ServiceId, TaskId};
use crate::model::node::Node;
use crate::model::rollout::Rollout;
use crate::model::service::{
    AnonymousVolumes, Dependency, DependencyCondition, RestartCondition, RestartPolicy,
    ServiceMode, ServiceSpec,
};
use crate::model::task::{Health, StopOrder, TaskStatus};
use crate::model::time::Timestamp;
use crate::model::volume::{Volume, VolumeSpec};
use crate::state::{Batch, Change};

/// Draws the services of a stack, one a line, and compares phase and reason of `web`.
///
///     web x2 v2 restart=always needs=db:healthy halted=1 paused removing
///     web.1 running v1 exit=3 health=starting desired=shutdown on=lost because port is taken
///
/// The node `lost` is down.
#[track_caller]
fn check(drawing: &str, expected: &str) {
    let status = of(&draw(drawing), "shop");
    let web = status
        .services
        .iter()
        .find(|service| service.name == "web")
        .unwrap();
    let phase = format!("{:?}", web.phase).to_lowercase();
    let text = format!("{} {phase} {}", web.wanted, web.reason);
    assert_eq!(text.trim_end(), expected, "{drawing}");
}

fn draw(drawing: &str) -> State {
    let lost = Node {
        status: NodeStatus::Down,
        ..Node::test("lost")
    };
    let mut changes = vec![Change::SetNode(Arc::new(lost))];
    for (number, line) in drawing
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        let (line, reason) = line.split_once(" because ").unwrap_or((line, "as drawn"));
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        changes.push(match name.split_once('.') {
            None => Change::SetService(Arc::new(service(name, words))),
            Some((service, slot)) => {
                let slot = slot.parse().unwrap();
                Change::SetTask(Arc::new(task(service, slot, number, reason, words)))
            }
        });
    }
    let mut state = State::default();
    state
        .apply(&Batch {
            changes,
            ..Batch::default()
        })
        .unwrap();
    state
}

fn service<'a>(name: &str, words: impl Iterator<Item = &'a str>) -> Service {
    let mut spec = ServiceSpec {
        name: name.into(),
        ..ServiceSpec::default()
    };
    let mut service = Service {
        id: ServiceId::new(name),
        stack: Some("shop".into()),
        spec: Arc::default(),
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
    };
    for word in words {
        match word.split_once('=') {
            Some(("restart", "always")) => {
                spec.restart = RestartPolicy {
                    condition: RestartCondition::Always,
                    ..spec.restart
                }
            }
            Some(("restart", times)) => {
                spec.restart.condition = RestartCondition::OnFailure;
                spec.restart.max_attempts = times.parse().unwrap();
            }
            Some(("needs", dependency)) => {
                let (on, condition) = dependency.split_once(':').unwrap();
                let condition = match condition {
                    "started" => DependencyCondition::ServiceStarted,
                    "healthy" => DependencyCondition::ServiceHealthy,
                    _ => DependencyCondition::ServiceCompletedSuccessfully,
                };
                let dependency = Dependency {
                    condition,
                    restart: false,
                    required: true,
                };
                spec.depends_on.insert(on.into(), dependency);
            }
            Some(("halted", slot)) => {
                service.halted.insert(slot.parse().unwrap());
            }
            Some(_) => unreachable!("{word}"),
            None => match (word, word.split_at(1)) {
                ("paused", _) => {
                    service.rollout = Rollout {
                        phase: RolloutPhase::Paused,
                        reason: "it fails".into(),
                        ..Rollout::default()
                    }
                }
                ("removing", _) => service.removal = Some(StopOrder::default()),
                (_, ("x", count)) => {
                    spec.mode = ServiceMode::Replicated {
                        replicas: count.parse().unwrap(),
                    };
                }
                (_, ("v", version)) => service.version = version.parse().unwrap(),
                _ => unreachable!("{word}"),
            },
        }
    }
    service.spec = Arc::new(spec);
    service
}

fn task<'a>(
    service: &str,
    slot: u32,
    number: usize,
    reason: &str,
    words: impl Iterator<Item = &'a str>,
) -> Task {
    let mut task = Task {
        id: TaskId::new(format!("{number:04}")),
        container: ContainerId::new(format!("c{number}")),
        service: ServiceId::new(service),
        slot,
        name: format!("shop-{service}-{slot}"),
        version: 1,
        node: None,
        desired: DesiredState::Running,
        stop: None,
        status: TaskStatus::new(TaskState::New, Timestamp::EPOCH, reason),
        attachments: Vec::new(),
        replaces: None,
        waits_for: Default::default(),
        failures: 0,
        restarts: 0,
        avoids: None,
        condemned: None,
        resources: BTreeMap::new(),
        start_after: Timestamp::EPOCH,
        created_at: Timestamp::EPOCH,
    };
    let named = |text: &str| serde_json::from_value(serde_json::Value::from(text));
    for word in words {
        match word.split_once('=') {
            Some(("exit", code)) => task.status.exit_code = code.parse().ok(),
            Some(("on", node)) => task.node = Some(NodeId::new(node)),
            Some(("restarts", count)) => task.restarts = count.parse().unwrap(),
            Some(("desired", desired)) => {
                task.desired = serde_json::from_value(desired.into()).unwrap();
            }
            Some(("health", status)) => {
                let status = serde_json::from_value(status.into()).unwrap();
                task.status.health = Some(Box::new(Health {
                    status,
                    failing_streak: 0,
                    retries: 3,
                    last_probe: None,
                }));
            }
            Some(_) => unreachable!("{word}"),
            None => match word
                .strip_prefix('v')
                .and_then(|version| version.parse().ok())
            {
                Some(version) => task.version = version,
                None => task.status.state = named(word).unwrap(),
            },
        }
    }
    if task.status.state == TaskState::Running {
        task.status.started_at = Some(Timestamp::from_nanos(1));
    }
    task
}

#[test]
fn nobody_waits_for_what_is_left_on_a_node_that_is_down() {
    let left = |how: &str| format!("web x1\nweb.1 {how}\nweb.1 running");
    check(
        &left("orphaned desired=remove"),
        "1 progressing shop-web-1 is being removed",
    );
    check(&left("orphaned desired=remove on=lost"), "1 settled");
    check(
        "web x1\nweb.1 running\nweb.2 running desired=remove on=lost",
        "1 settled",
    );
}

#[test]
fn what_only_a_node_that_is_down_can_run_waits_for_it() {
    let shown = |task: &str| {
        let mut state = draw(&format!("web x1\n{task}"));
        let service = state.service_named("shop", "web").unwrap();
        let mut spec = (*service.spec).clone();
        let mount = Mount {
            target: "/data".into(),
            read_only: false,
            source: MountSource::Volume {
                name: "data".into(),
                no_copy: false,
                subpath: None,
            },
        };
        let mut container = (*spec.container).clone();
        container.mounts = vec![mount];
        spec.container = Arc::new(container);
        let mut service = (**service).clone();
        service.spec = Arc::new(spec);
        service.versions.clear();
        let volume = Volume {
            spec: VolumeSpec {
                name: "data".into(),
                ..VolumeSpec::default()
            },
            stack: Some("shop".into()),
            node: Some(NodeId::new("lost")),
            removing: false,
            created_at: Timestamp::EPOCH,
        };
        let changes = vec![
            Change::SetService(Arc::new(service)),
            Change::SetVolume(Arc::new(volume)),
        ];
        let batch = Batch {
            base: state.version,
            changes,
            ..Batch::default()
        };
        state.apply(&batch).unwrap();
        let status = of(&state, "shop");
        let web = &status.services[0];
        (web.phase, web.reason.clone())
    };
    let node = Node::test("lost").name().to_owned();
    let reason = format!(
        "waiting for node {node} to return: it is down, and the data of volume data is there"
    );
    let expected = (ServicePhase::Waiting, reason);
    assert_eq!(shown("web.1 running on=lost"), expected);
    assert_eq!(shown("web.1 starting on=lost"), expected);
    assert_eq!(shown("web.1 running").0, ServicePhase::Settled);
}

#[test]
fn a_service_is_settled_when_all_of_it_runs() {
    check(
        "web x2",
        "2 progressing its container has not been made yet",
    );
    check(
        "web x2\n web.1 running",
        "2 progressing its container has not been made yet",
    );
    check(
        "web x2\n web.1 running\n web.2 starting",
        "2 progressing shop-web-2: as drawn",
    );
    check("web x2\n web.1 running\n web.2 running", "2 settled");
    check("web x0", "0 settled");
}

#[test]
fn a_job_is_settled_when_it_has_completed() {
    check("web x1\n web.1 complete exit=0", "1 settled");
    check(
        "web x1 restart=always\n web.1 complete exit=0",
        "1 progressing shop-web-1 is restarting: as drawn",
    );
}

#[test]
fn a_failure_is_final_only_without_restarts_left() {
    check(
        "web x1\n web.1 failed exit=3",
        "1 failed container shop-web-1 exited (3): as drawn",
    );
    check(
        "web x1 restart=always\n web.1 failed exit=3",
        "1 progressing shop-web-1 is restarting: as drawn",
    );
    check(
        "web x1 restart=2\n web.1 failed exit=3 restarts=1",
        "1 progressing shop-web-1 is restarting: as drawn",
    );
    check(
        "web x1 restart=2\n web.1 failed exit=3 restarts=2",
        "1 failed container shop-web-1 exited (3): as drawn",
    );
    check(
        "web x1\n web.1 rejected because no such image",
        "1 failed container shop-web-1 cannot start: no such image",
    );
    check("web x1\n web.1 failed exit=3\n web.1 running", "1 settled");
}

#[test]
fn an_update_is_not_settled_while_the_old_version_is_there() {
    check(
        "web x1 v2\n web.1 running v1",
        "1 progressing shop-web-1 still runs the version before",
    );
    check(
        "web x1 v2\n web.1 running v1 desired=shutdown\n web.1 running v2",
        "1 progressing shop-web-1 still runs the version before",
    );
    check(
        "web x1 v2\n web.1 shutdown v1\n web.1 running v2",
        "1 settled",
    );
    check(
        "web x1 v2 paused\n web.1 running v1",
        "1 failed the update is paused: it fails",
    );
    check(
        "web x1\n web.1 running\n web.2 running",
        "1 progressing shop-web-2 is being stopped",
    );
}

#[test]
fn a_stopped_slot_is_not_counted() {
    check(
        "web x2 halted=2\n web.1 running\n web.2 shutdown",
        "1 settled",
    );
    check(
        "web x2 halted=2\n web.1 running\n web.2 running",
        "1 progressing shop-web-2 is being stopped",
    );
}

#[test]
fn a_service_waits_for_what_it_depends_on() {
    let web = "web x1 needs=db:healthy\n web.1 pending because dependency\n db x1\n";
    check(web, "1 waiting waiting for db to be healthy");
    check(
        &format!("{web} db.1 running health=starting"),
        "1 waiting waiting for db to be healthy",
    );
    check(
        &format!("{web} db.1 running health=healthy"),
        "1 progressing dependency",
    );
}

#[test]
fn what_will_never_hold_fails_the_service() {
    let web = "web x1 needs=db:healthy\n web.1 pending because dependency\n db x1\n";
    check(
        &format!("{web} db.1 running health=unhealthy"),
        "1 failed dependency db is unhealthy",
    );
    check(
        &format!("{web} db.1 failed exit=1 because it said so"),
        "1 failed dependency db failed: it said so",
    );
}

#[test]
fn removal_outranks_everything() {
    check(
        "web x1 removing\n web.1 failed exit=1",
        "1 removing its containers are being stopped and removed",
    );
}

#[test]
fn a_circle_ends() {
    check(
        "web x1 needs=db:started\n web.1 pending\n db x1 needs=web:started\n db.1 pending",
        "1 waiting waiting for db to start",
    );
}

#[test]
fn a_stack_that_does_not_exist_is_empty() {
    let status = of(&State::default(), "nowhere");
    assert_eq!(
        (status.name.as_str(), status.services.len()),
        ("nowhere", 0)
    );
}
