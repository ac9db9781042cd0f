use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::assignment::{
    AssignedInterface, AssignedNetwork, AssignedTask, AssignedVolume, Assignment,
};
use scheduler::model::container::{ContainerSpec, Hook};
use scheduler::model::id::{ContainerId, NetworkId, TaskId};
use scheduler::model::task::{DesiredState, StopOrder};
use scheduler::model::time::Timestamp;
use scheduler::model::volume::VolumeSpec;

use super::{Basis, Wanted, drawing, plan};
use crate::container::Exit;
use crate::host::{Hooks, Means, Observed, Op, Phase, SeenContainer, Stopping};

/// Draws a situation and compares the steps: `wanted` is a line of tasks such as
/// `web:2=running` (container `web`, its task 2), `seen` a line such as `web:1=ended`; both may
/// name networks (`net`) and volumes (`vol`, `vol=remove`).
#[track_caller]
fn check(wanted: &str, seen: &str, expected: &str) {
    check_at(0, wanted, seen, expected);
}

#[track_caller]
fn check_at(seconds: u64, wanted: &str, seen: &str, expected: &str) {
    check_on(Basis::Told, seconds, wanted, seen, expected);
}

#[track_caller]
fn check_on(basis: Basis, seconds: u64, wanted: &str, seen: &str, expected: &str) {
    let wanted = Wanted::new(Arc::new(draw_assignment(wanted)), basis);
    let plan = plan(&wanted, &draw_observed(seen), second(seconds));
    let mut steps: Vec<String> = plan.steps.iter().map(|step| name(&step.op)).collect();
    steps.extend(
        plan.wake_at
            .map(|at| format!("wake at {}", at.as_nanos() / 1_000_000_000)),
    );
    assert_eq!(steps.join(", "), expected);
}

fn second(n: u64) -> Timestamp {
    Timestamp::from_nanos(n * 1_000_000_000)
}

fn name(op: &Op) -> String {
    match op {
        Op::EnsureNetwork(network) => format!("make {}", network.name),
        Op::RemoveNetwork(id) => format!("unmake {id}"),
        Op::EnsureVolume(spec) => format!("make {}", spec.name),
        Op::RemoveVolume(name) => format!("unmake {name}"),
        Op::Prepare(run) => format!("prepare {}", run.task.id),
        Op::Start(run) => format!("start {}", run.task.id),
        Op::Adopt(run) => format!("adopt {}", run.task.id),
        Op::Signal { container, signal } => {
            format!(
                "signal {container}{}",
                signal
                    .as_deref()
                    .map(|s| format!(" {s}"))
                    .unwrap_or_default()
            )
        }
        Op::PostStart(run) => format!("post-start {}", run.task.id),
        Op::PreStop { run, .. } => format!("pre-stop {}", run.task.id),
        Op::Kill(container) => format!("kill {container}"),
        Op::Release(container) => format!("release {container}"),
        Op::Remove { container, .. } => format!("remove {container}"),
    }
}

fn draw_assignment(drawing: &str) -> Assignment {
    let mut assignment = Assignment::default();
    for word in drawing.split_whitespace() {
        let (left, right) = word.split_once('=').unwrap_or((word, ""));
        match (left, right) {
            ("net", _) => assignment.networks.push(network("net")),
            ("vol", "external") => assignment.volumes.push(AssignedVolume {
                spec: VolumeSpec {
                    name: "vol".into(),
                    external: true,
                    ..VolumeSpec::default()
                },
                remove: false,
            }),
            ("vol", state) => assignment.volumes.push(AssignedVolume {
                spec: VolumeSpec {
                    name: "vol".into(),
                    ..VolumeSpec::default()
                },
                remove: state == "remove",
            }),
            (left, state) => assignment.tasks.push(Arc::new(draw_words(left, state))),
        }
    }
    if assignment.networks.is_empty() {
        return assignment;
    }
    let interface = AssignedInterface {
        network: NetworkId::new("net"),
        name: "eth0".into(),
        address: [10, 0, 0, 2].into(),
        prefix_len: 24,
        mac: "02:42:0a:00:00:02".into(),
        default_gateway: None,
        ipv6: None,
        link_local: Vec::new(),
    };
    for task in &mut assignment.tasks {
        Arc::make_mut(task).interfaces.push(interface.clone());
    }
    assignment
}

fn draw_words(left: &str, state: &str) -> AssignedTask {
    let (state, start_after) = state.split_once('@').unwrap_or((state, "0"));
    let (state, order) = state
        .split_once('!')
        .map_or((state, None), |(state, order)| (state, Some(order)));
    let desired = match state {
        "ready" => DesiredState::Ready,
        "running" => DesiredState::Running,
        "shutdown" => DesiredState::Shutdown,
        "remove" => DesiredState::Remove,
        other => panic!("no such desired state: {other}"),
    };
    let stop = order.map(|order| StopOrder {
        signal: order.parse::<i64>().is_err().then(|| order.to_owned()),
        grace_seconds: order.parse().ok(),
        remove_volumes: false,
    });
    AssignedTask {
        stop,
        start_after: second(start_after.parse().unwrap()),
        ..drawing::task(left, desired)
    }
}

fn network(name: &str) -> AssignedNetwork {
    AssignedNetwork {
        overlay: None,
        id: NetworkId::new(name),
        name: name.into(),
        subnet: "10.0.0.0/24".parse().unwrap(),
        gateway: [10, 0, 0, 1].into(),
        ipv6: None,
        internal: false,
        mtu: None,
        bridge_name: None,
        inter_container: true,
        masquerade: true,
        names: BTreeMap::new(),
        virtual_addresses: Vec::new(),
    }
}

fn draw_observed(drawing: &str) -> Observed {
    let mut observed = Observed::default();
    for word in drawing.split_whitespace() {
        let (left, state) = word.split_once('=').unwrap_or((word, ""));
        match (left, state) {
            ("net" | "bridge", state) => {
                let made = (state != "found").then(|| Arc::new(network(left)));
                observed.networks.insert(NetworkId::new(left), made);
            }
            ("vol", _) => drop(observed.volumes.insert("vol".into(), VolumeSpec::default())),
            (left, state) => {
                let container = left.split(':').next().unwrap();
                let seen = draw_container(left, state);
                observed
                    .containers
                    .insert(ContainerId::new(container), seen);
            }
        }
    }
    observed
}

fn draw_container(left: &str, state: &str) -> SeenContainer {
    let exit = Exit {
        code: 0,
        oom_killed: false,
        started_at: None,
        finished_at: second(0),
        error: None,
    };
    let (state, stop) = state
        .split_once('!')
        .map_or((state, None), |(state, stop)| (state, Some(stop)));
    let phase = match state {
        "bare" => Phase::Bare,
        "prepared" => Phase::Prepared,
        "found" => Phase::Found {
            started_at: second(0),
        },
        "running" => Phase::Running {
            pid: 7,
            started_at: second(0),
        },
        "ended" => Phase::Ended(exit),
        "released" => Phase::Released(exit),
        "rejected" => Phase::Rejected {
            reason: "no such image".into(),
            at: second(0),
        },
        other => panic!("no such phase: {other}"),
    };
    let mut seen = SeenContainer::new(Some(TaskId::new(left)), phase);
    seen.stop = stop.map(|stop| Stopping {
        since: second(0),
        signal: stop.starts_with("SIG").then(|| stop.to_owned()),
        by: match stop {
            "unheard" => Means::Nothing,
            "killed" => Means::Kill,
            _ => Means::Signal,
        },
    });
    seen
}

#[test]
fn a_container_is_prepared_and_then_started() {
    check("web:1=running", "", "prepare web:1");
    check("web:1=ready", "", "prepare web:1");
    check("web:1=ready", "web:1=prepared", "");
    check("web:1=running", "web:1=prepared", "start web:1");
    check("web:1=running", "web:1=running", "");
    check("web:1=running", "web:1=bare", "prepare web:1");
}

#[test]
fn a_start_waits_for_its_network_and_its_time() {
    check("net web:1=running", "", "make net, prepare web:1");
    check("net web:1=running", "web:1=prepared", "make net");
    check("net web:1=running", "net=found web:1=prepared", "make net");
    check("net web:1=running", "net web:1=prepared", "start web:1");
    check_at(4, "web:1=running@5", "web:1=prepared", "wake at 5");
    check_at(5, "web:1=running@5", "web:1=prepared", "start web:1");
}

#[test]
fn what_failed_is_not_tried_again_without_a_new_task() {
    check("web:1=running", "web:1=rejected", "");
    check("web:2=running", "web:1=rejected", "prepare web:2");
    check_at(4, "web:2=running@5", "web:1=rejected", "wake at 5");
    check_at(5, "web:2=running@5", "web:1=rejected", "prepare web:2");
    check("web:1=running", "web:1=released", "");
    check_at(4, "web:2=running@5", "web:1=released", "prepare web:2");
    check("web:2=running", "web:1=released", "prepare web:2");
}

#[test]
fn an_end_is_asked_for_and_then_enforced() {
    check("web:1=shutdown", "web:1=running", "signal web");
    check(
        "web:1=shutdown!SIGINT",
        "web:1=running",
        "signal web SIGINT",
    );
    check_at(9, "web:1=shutdown", "web:1=running!asked", "wake at 10");
    check_at(10, "web:1=shutdown", "web:1=running!asked", "kill web");
    check_at(99, "web:1=shutdown", "web:1=running!killed", "");
    let unheard = "web:1=running!unheard";
    check_at(9, "web:1=shutdown", unheard, "signal web, wake at 10");
    check_at(10, "web:1=shutdown", unheard, "kill web");
    check_at(999, "web:1=shutdown!-1", unheard, "signal web");
    check_at(3, "web:1=shutdown!3", "web:1=running!asked", "kill web");
    check_at(999, "web:1=shutdown!-1", "web:1=running!asked", "");
}

#[test]
fn a_second_more_urgent_signal_is_sent_once() {
    let asked = "web:1=running!asked";
    check("web:1=shutdown!SIGKILL", asked, "signal web SIGKILL");
    check(
        "web:1=shutdown!SIGKILL",
        "web:1=running!SIGTERM",
        "signal web SIGKILL",
    );
    check_at(
        1,
        "web:1=shutdown!SIGKILL",
        "web:1=running!SIGKILL",
        "wake at 10",
    );
}

#[test]
fn an_older_run_ends_before_a_newer_one_is_prepared() {
    check("web:2=running", "web:1=running", "signal web");
    check("web:2=running", "web:1=ended", "release web");
    check("web:2=running", "web:1=released", "prepare web:2");
}

#[test]
fn an_ended_container_is_released_and_kept_until_its_removal() {
    check("web:1=running", "web:1=ended", "release web");
    check("web:1=shutdown", "web:1=ended", "release web");
    check("web:1=shutdown", "web:1=released", "");
    check("web:1=remove", "web:1=running", "signal web");
    check("web:1=remove", "web:1=ended", "release web");
    check("web:1=remove", "web:1=released", "remove web");
    check("web:1=remove", "web:1=prepared", "remove web");
    check("web:1=remove", "", "");
    check("web:1=shutdown", "", "");
}

#[test]
fn after_a_start_running_containers_are_taken_over_and_strays_removed() {
    check("web:1=running", "web:1=found", "adopt web:1");
    check("net web:1=running", "net=found web:1=found", "make net");
    check("web:2=running", "web:1=found", "signal web");
    check("", "web:1=found", "signal web");
    check("", "web:1=ended", "release web");
    check("", "web:1=bare", "remove web");
}

#[test]
fn a_network_is_removed_when_nothing_is_connected() {
    check("", "net", "unmake net");
    check("", "net web:1=running", "signal web");
    check("", "net web:1=ended", "release web");
    check("", "net web:1=released", "unmake net, remove web");
}

#[test]
fn the_default_network_stays_until_the_node_starts_anew() {
    check("", "bridge", "");
    check("", "bridge=found", "unmake bridge");
}

#[test]
fn data_is_deleted_only_when_the_assignment_says_so() {
    check("vol", "", "make vol");
    check("vol", "vol", "");
    check("", "vol", "");
    check("vol=remove", "vol", "unmake vol");
    check("vol=remove", "", "");
    check("vol=external", "", "");
}

/// What was read from the disk may not be the last word.
#[test]
fn nothing_is_deleted_on_the_word_of_an_assignment_that_is_only_remembered() {
    let check = |wanted: &str, seen: &str, expected: &str| {
        check_on(Basis::Remembered, 0, wanted, seen, expected);
    };
    check("web:1=running", "web:1=released db:7=running net=found", "");
    check("web:1=running", "", "prepare web:1");
    check("web:1=shutdown", "web:1=running", "signal web");
    check("web:1=remove", "web:1=released", "");
    check("web:1=running", "web:2=running", "");
    check("web:1=running", "web:2=released", "");
    check("web:2=running", "web:1=running", "signal web");
    check("vol=remove", "vol", "");
}

/// Container `web` runs its task 1, with commands around its life; `hooks` is how far they are.
#[track_caller]
fn check_hooks(wanted: &str, hooks: Hooks, expected: &str) {
    let hook = Hook {
        command: vec!["true".into()],
        ..Hook::default()
    };
    let mut assignment = draw_assignment(wanted);
    let spec = ContainerSpec {
        post_start: vec![hook.clone()],
        pre_stop: vec![hook],
        ..ContainerSpec::default()
    };
    for task in &mut assignment.tasks {
        Arc::make_mut(task).spec = Arc::new(spec.clone());
    }
    let mut observed = draw_observed("web:1=running");
    for seen in observed.containers.values_mut() {
        seen.hooks = hooks.clone();
    }
    let wanted = Wanted::new(Arc::new(assignment), Basis::Told);
    let plan = plan(&wanted, &observed, second(0));
    let steps: Vec<String> = plan.steps.iter().map(|step| name(&step.op)).collect();
    assert_eq!(steps.join(", "), expected);
}

#[test]
fn commands_come_after_a_start_and_before_a_stop_but_not_before_a_kill() {
    let failed = || Hooks::Failed("no".into());
    check_hooks("web:1=running", Hooks::AfterStart, "post-start web:1");
    check_hooks("web:1=running", Hooks::Idle, "");
    check_hooks("web:1=running", failed(), "signal web");
    check_hooks("web:1=shutdown", Hooks::AfterStart, "pre-stop web:1");
    check_hooks("web:1=remove", Hooks::Idle, "pre-stop web:1");
    check_hooks("web:2=running", Hooks::Idle, "pre-stop web:2");
    check_hooks("web:1=shutdown", Hooks::BeforeStop, "signal web");
    check_hooks("web:1=shutdown", failed(), "signal web");
    check_hooks("web:1=shutdown!KILL", Hooks::Idle, "signal web KILL");
    check_hooks("web:1=shutdown!0", Hooks::Idle, "signal web");
}
