//! Where containers go, and what becomes of them when nodes come and go.

mod fleet;
mod rollouts;
mod steps;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::fleet::{Fate, Fleet};
use crate::control_plane::command::{Command, Volumes};
use crate::model::id::NodeId;
use crate::model::node::Availability;
use crate::report::Report;
use crate::status;

/// Brings a stack up on some nodes, and says where its containers are.
#[track_caller]
fn check(nodes: &str, stack: &str, expected: &str) {
    let mut fleet = Fleet::new(nodes);
    fleet.up(stack);
    assert_eq!(fleet.shown(), expected);
}

#[test]
fn the_node_with_the_fewest_of_the_service_comes_first_then_with_the_fewest_at_all() {
    check(
        "n1\nn2\nn3",
        "web v1 x4",
        "n1: web.1 web.4 | n2: web.2 | n3: web.3",
    );
    check(
        "n1\nn2\nn3",
        "api v1 x2\nweb v1 x2",
        "n1: api.1 web.2 | n2: api.2 | n3: web.1",
    );
}

#[test]
fn preferences_spread_over_labels_in_order() {
    check(
        "n1 zone=a\nn2 zone=a\nn3 zone=a\nn4 zone=b",
        "web v1 x4 spread node.labels.zone",
        "n1: web.1 | n2: web.3 | n3: | n4: web.2 web.4",
    );
    // A missing label is a branch of its own.
    check(
        "n1 zone=a\nn2 zone=b\nn3",
        "web v1 x3 spread node.labels.zone",
        "n1: web.1 | n2: web.2 | n3: web.3",
    );
    check(
        "n1 zone=a rack=1\nn2 zone=a rack=1\nn3 zone=a rack=2\nn4 zone=b rack=1",
        "web v1 x4 spread node.labels.zone spread node.labels.rack",
        "n1: web.1 | n2: | n3: web.3 | n4: web.2 web.4",
    );
}

#[test]
fn a_full_branch_gives_way_to_the_next() {
    check(
        "n1 zone=a\nn2 zone=b\nn3 zone=b",
        "web v1 x3 spread node.labels.zone most 1",
        "n1: web.1 | n2: web.2 | n3: web.3",
    );
}

#[test]
fn what_is_set_aside_counts() {
    check(
        "n1 cpus=2\nn2 cpus=1",
        "web v1 x4 cpus 1",
        "n1: web.1 web.3 | n2: web.2 \
         | ?: web.4 (no node can run it: 2 with too few CPUs)",
    );
    check(
        "n1 gpus=1\nn2",
        "ai v1 x2 gpus 1",
        "n1: ai.1 | n2: | ?: ai.2 (no node can run it: 2 with too few of `gpu`)",
    );
}

/// What every container of a service was granted, in the order of their slots.
fn granted(fleet: &Fleet, service: &str) -> Vec<String> {
    let tasks = fleet.state.tasks.values();
    let mut tasks: Vec<_> = tasks
        .filter(|task| task.name.contains(service) && !task.status.state.is_terminal())
        .collect();
    tasks.sort_by_key(|task| (task.slot, task.id.clone()));
    let words = |task: &&std::sync::Arc<crate::model::task::Task>| {
        let kinds = task.resources.iter();
        let kinds = kinds.map(|(kind, names)| format!("{kind}={}", names.join(",")));
        kinds.collect::<Vec<_>>().join(" ")
    };
    tasks.iter().map(words).collect()
}

#[test]
fn things_with_names_are_granted_by_name_and_never_twice() {
    let mut fleet = Fleet::new("n1 gpu-names=a,b,c");
    fleet.up("ai v1 x2 gpus 1");
    assert_eq!(granted(&fleet, "ai"), ["gpu=a", "gpu=b"]);
    fleet.up("ai v1 x2 gpus 1\nml v1 gpus 2");
    assert_eq!(granted(&fleet, "ml"), [""]);
    fleet.up("ai v1 gpus 1\nml v1 gpus 2");
    assert_eq!(granted(&fleet, "ai"), ["gpu=a"]);
    assert_eq!(granted(&fleet, "ml"), ["gpu=b,c"]);
}

#[test]
fn what_only_is_counted_is_granted_as_a_number() {
    let mut fleet = Fleet::new("n1 gpus=3");
    fleet.up("ai v1 gpus 2");
    assert_eq!(granted(&fleet, "ai"), ["gpu=2"]);
}

#[test]
fn what_shares_a_namespace_goes_where_the_other_one_is() {
    check(
        "n1\nn2\nn3",
        "api v1 x3\ndb v1 x2\nweb v1 x3 inside db",
        "n1: api.1 db.1 web.1 web.3 | n2: api.2 db.2 web.2 | n3: api.3",
    );
    check(
        "n1\nn2",
        "db v1 on node.hostname==n1\nweb v1 inside db on node.hostname==n2",
        "n1: db.1 | n2: | ?: web.1 (no node can run it: 1 without `node.hostname==n2`)",
    );
    check(
        "n1\nn2\nn3",
        "db v1 global\nweb v1 global inside db",
        "n1: db.1 web.1 | n2: db.2 web.2 | n3: db.3 web.3",
    );
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("db v1\nweb v1 inside db");
    assert_eq!(fleet.shown(), "n1: db.1 web.1 | n2:");
    fleet.drain("n1");
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: | n2: db.1 web.1");
    fleet.down("n2");
    fleet.node("n1", |node| node.availability = Availability::Active);
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: db.1 web.1 | n2: db.1! web.1!");
}

#[test]
fn a_port_of_the_host_is_taken_once_on_each_node() {
    check(
        "n1\nn2",
        "web v1 x3 host-port 80",
        "n1: web.1 | n2: web.2 | ?: web.3 (no node can run it: 2 with port 80/tcp taken)",
    );
}

#[test]
fn a_reason_counts_nodes_the_most_frequent_first() {
    let mut fleet = Fleet::new("n1 zone=b\nn2 zone=b arch=arm64\nn3 zone=a\nn4 zone=b\nn5 zone=b");
    fleet.node("n1", |node| node.availability = Availability::Pause);
    fleet.drain("n4");
    fleet.down("n5");
    fleet.up("web v1 on node.labels.zone==a platform linux/arm64\nai v1 x2 on node.labels.zone==c");
    let refused =
        "no node can run it: 2 without `node.labels.zone==c`, 1 down, 1 paused, 1 drained";
    assert_eq!(
        fleet.shown(),
        format!("n1: | n2: | n3: web.1 | n4: | n5: | ?: ai.1 ({refused}) ai.2 ({refused})")
    );
}

#[test]
fn a_platform_is_asked_for() {
    check(
        "n1 arch=amd64\nn2 arch=arm64",
        "web v1 x2 platform linux/aarch64\nold v1 platform linux/s390x",
        "n1: | n2: web.1 web.2 \
         | ?: old.1 (no node can run it: 2 not of platform linux/s390x)",
    );
}

#[test]
fn each_node_has_one_of_a_global_service_wherever_it_suits() {
    let mut fleet = Fleet::new("n1 zone=a\nn2 zone=a\nn3 zone=b");
    fleet.up("log v1 global on node.labels.zone==a");
    assert_eq!(fleet.shown(), "n1: log.1 | n2: log.2 | n3:");
    fleet.node("n3", |node| {
        node.labels.insert("zone".into(), "a".into());
    });
    fleet.drain("n1");
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: | n2: log.2 | n3: log.3");
    fleet.node("n1", |node| node.availability = Availability::Active);
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: log.1 | n2: log.2 | n3: log.3");
}

#[test]
fn a_node_that_is_down_keeps_what_only_it_can_run() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("db v1 volume data\nlog v1 global\nweb v1 x2");
    assert_eq!(fleet.shown(), "n1: db.1 log.1 web.2 | n2: log.2 web.1");
    fleet.down("n1");
    fleet.down("n2");
    fleet.settle();
    let reason = "no node can run it: 2 down";
    assert_eq!(
        fleet.shown(),
        format!("n1: db.1 log.1 web.2! | n2: log.2 web.1! | ?: web.1 ({reason}) web.2 ({reason})")
    );
}

#[test]
fn a_lost_node_drops_on_its_return_what_was_replaced() {
    let mut fleet = Fleet::new("n1\nn2\nn3");
    fleet.up("web v1 x3");
    fleet.watch();
    fleet.down("n2");
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: web.1 web.2 | n2: web.2! | n3: web.3");
    fleet.back("n2");
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: web.1 web.2 | n2: | n3: web.3");
    assert_eq!((fleet.fewest["web"], fleet.most["web"]), (2, 3));
}

#[test]
fn what_has_been_run_again_is_replaced_like_everything_else_on_a_lost_node() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("web v1 x2");
    for command in [
        |stack, services| Command::StopServices {
            stack,
            services,
            grace_seconds: None,
        },
        |stack, services| Command::StartServices { stack, services },
    ] {
        let command = command("shop".to_owned(), vec!["web".to_owned()]);
        fleet.command(command).unwrap();
        fleet.settle();
    }
    fleet.down("n2");
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: web.1 web.2 | n2: web.2!");
}

#[test]
fn draining_honours_the_update_policy() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("web v1 x4 start-first one-by-one");
    fleet.watch();
    fleet.drain("n1");
    for _ in 0..10 {
        fleet.settle();
        fleet.wait(6);
    }
    assert_eq!(fleet.shown(), "n1: | n2: web.1 web.2 web.3 web.4");
    assert_eq!((fleet.fewest["web"], fleet.most["web"]), (4, 5));
}

#[test]
fn a_drained_node_is_emptied_even_if_there_is_no_other_place() {
    let mut fleet = Fleet::new("n1");
    fleet.up("web v1\ndb v1 volume data");
    fleet.drain("n1");
    fleet.settle();
    assert_eq!(
        fleet.shown(),
        "n1: web.1! | ?: db.1 (no node can run it: 1 drained) web.1 (no node can run it: 1 drained)"
    );
    fleet.node("n1", |node| node.availability = Availability::Active);
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: db.1 web.1");
}

#[test]
fn containers_leave_a_node_that_no_longer_suits() {
    let mut fleet = Fleet::new("n1 zone=a\nn2 zone=a");
    fleet.up("web v1 x2 on node.labels.zone==a");
    assert_eq!(fleet.shown(), "n1: web.1 | n2: web.2");
    fleet.node("n1", |node| {
        node.labels.insert("zone".into(), "b".into());
    });
    fleet.settle();
    assert_eq!(fleet.shown(), "n1: | n2: web.1 web.2");
}

#[test]
fn after_five_failures_in_a_row_another_node_is_tried() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.fails_on("web", "n1");
    fleet.up("web v1 restart always");
    for _ in 0..5 {
        fleet.wait(60);
    }
    assert_eq!(fleet.shown(), "n1: | n2: web.1");
}

#[test]
fn what_fails_everywhere_goes_on_failing_with_a_growing_wait() {
    let mut fleet = Fleet::new("n1");
    fleet.fails_on("web", "n1");
    fleet.up("web v1 restart always");
    for _ in 0..7 {
        fleet.wait(60);
    }
    let task = fleet.state.tasks.values().next_back().unwrap();
    assert!(task.failures >= 7, "{task:?}");
}

#[test]
fn a_job_runs_to_its_end_a_few_at_a_time_and_once_for_each_version() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.watch();
    fleet.up("job v1 job 5/2");
    assert_eq!(
        fleet.shown(),
        "n1: job.1+ job.3+ job.5+ | n2: job.2+ job.4+"
    );
    assert_eq!(fleet.most["job"], 2);
    fleet.up("job v1 job 5/2");
    let made = fleet.state.tasks_made;
    fleet.up("job v2 job 2/0");
    assert_eq!(fleet.shown(), "n1: job.1+ | n2: job.2+");
    assert!(fleet.state.tasks_made > made);
    fleet.up("job v2 job 2/0\nall v1 global-job");
    assert_eq!(fleet.shown(), "n1: all.1+ job.1+ | n2: all.2+ job.2+");
}

#[test]
fn what_takes_the_place_of_what_was_lost_is_tried_until_it_starts() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("web v1 x2 restart always");
    fleet.fates.insert("v1".into(), Fate::Missing);
    fleet.down("n2");
    fleet.run(2);
    assert_eq!(fleet.serving("web"), "1:v1");
    fleet.fates.clear();
    fleet.wait(60);
    assert_eq!(fleet.shown(), "n1: web.1 web.2 | n2: web.2!");
}

#[test]
fn what_was_on_a_removed_node_is_forgotten() {
    use crate::model::id::NodeId;
    use crate::state::Change;

    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("db v1 volume data\nweb v1 x2");
    fleet.down("n1");
    fleet.change(|_| vec![Change::RemoveNode(NodeId::new("n1"))]);
    fleet.settle();
    assert_eq!(fleet.shown(), "n2: db.1 web.1 web.2");
}

#[test]
fn a_node_knows_the_way_to_what_is_on_other_nodes() {
    let mut fleet = Fleet::new("n1 at=10.0.0.1\nn2 at=10.0.0.2\nn3 at=10.0.0.3");
    fleet.up("web v1 x2");
    assert_eq!(fleet.shown(), "n1: web.1 | n2: web.2 | n3:");
    assert_eq!(fleet.told("n1"), "4097 at 10.0.0.1: .4@10.0.0.2");
    assert_eq!(fleet.told("n2"), "4097 at 10.0.0.2: .3@10.0.0.1");
    assert_eq!(fleet.told("n3"), "");
}

#[test]
fn every_node_answers_on_a_published_port_for_its_own_containers_first() {
    let mut fleet = Fleet::new("n1 at=10.0.0.1\nn2 at=10.0.0.2\nn3 at=10.0.0.3");
    fleet.up("web v1 x2 port 80");
    // .2 to .4 are the nodes' own, .5 stands for both containers.
    assert_eq!(
        fleet.told("n1"),
        "4097 at 10.0.0.1.2: .3@10.0.0.2 .4@10.0.0.3 .7@10.0.0.2; 80 → .6"
    );
    assert_eq!(
        fleet.told("n3"),
        "4097 at 10.0.0.3.4: .2@10.0.0.1 .3@10.0.0.2 .6@10.0.0.1 .7@10.0.0.2; 80 → .6 .7"
    );
    fleet.down("n2");
    assert_eq!(
        fleet.told("n3"),
        "4097 at 10.0.0.3.4: .2@10.0.0.1 .3@10.0.0.2 .6@10.0.0.1 .7@10.0.0.2; 80 → .6"
    );
}

#[test]
fn in_a_cluster_every_node_answers_for_an_only_container_and_it_holds_no_port_itself() {
    let mut fleet = Fleet::new("n1 at=10.0.0.1\nn2 at=10.0.0.2");
    fleet.up("web v1 port 80");
    for node in ["n1", "n2"] {
        assert!(
            fleet.told(node).ends_with("80 → .4"),
            "{}",
            fleet.told(node)
        );
    }
    // Else it would find its port taken by its own node, which was told of it before.
    assert!(fleet.shares_ports("n1"));
    let mut alone = Fleet::new("n1");
    alone.up("web v1 port 80");
    assert!(!alone.shares_ports("n1"));
}

#[test]
fn what_is_on_every_node_as_often_as_is_allowed_can_be_updated() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("web v1 x2 most 1");
    assert_eq!(fleet.shown(), "n1: web.1 | n2: web.2");
    fleet.up("web v2 x2 most 1");
    assert_eq!(fleet.shown(), "n1: web.1 | n2: web.2");
    let tasks = fleet.state.tasks.values();
    let mut alive = tasks.filter(|task| !task.status.state.is_terminal());
    assert!(alive.all(|task| task.version == 2));
}

#[test]
fn one_host_has_no_tunnels_and_balances_what_several_containers_share() {
    let mut fleet = Fleet::new("n1");
    fleet.up("web v1 x2 port 80\napi v1 port 81");
    assert_eq!(fleet.told("n1"), "80 → .4 .5");
}

#[test]
fn a_stack_goes_although_a_node_with_containers_of_it_is_down() {
    let mut fleet = Fleet::new("n1\nn2");
    fleet.up("web v1 x2\ndb v1 x2");
    fleet.down("n2");
    fleet.settle();
    let stack = "shop".to_owned();
    fleet
        .command(Command::RemoveStack {
            stack,
            services: Vec::new(),
            volumes: Volumes::Keep,
            grace_seconds: None,
        })
        .unwrap();
    fleet.settle();
    assert!(fleet.state.tasks.is_empty(), "{}", fleet.shown());
    assert!(fleet.state.stacks.is_empty() && fleet.state.networks.is_empty());
}

#[test]
fn what_nodes_do_not_reach_is_told_of_with_the_time_and_without_those_that_are_down() {
    let mut fleet = Fleet::new("n1\nn2\nn3");
    for number in 1..4 {
        let address = SocketAddr::from(([192, 0, 2, number], 2377));
        fleet.node(&format!("n{number}"), |node| node.address = Some(address));
    }
    let began = fleet.now;
    let says = |fleet: &mut Fleet, silent: &[u8]| {
        let silent = silent.iter().map(|it| IpAddr::from([192, 0, 2, *it]));
        let report = Report {
            cut_off: Some(silent.collect()),
            ..Report::default()
        };
        fleet.report("n1", &report);
    };
    let told = |fleet: &Fleet| {
        let row = &fleet.state.nodes[&NodeId::new("n1")];
        let told = status::cut_off(&fleet.state, row);
        let told =
            told.map(|(to, since)| format!("{} {}", to.name(), since.since(began).as_secs()));
        told.collect::<Vec<_>>().join(", ")
    };
    says(&mut fleet, &[2, 9]);
    fleet.now = fleet.now.plus(Duration::from_secs(5));
    says(&mut fleet, &[2, 3]);
    assert_eq!(told(&fleet), "n2 0, n3 5");
    fleet.report("n1", &Report::default());
    assert_eq!(told(&fleet), "n2 0, n3 5");
    fleet.down("n2");
    assert_eq!(told(&fleet), "n3 5");
    fleet.down("n1");
    assert_eq!(told(&fleet), "");
    fleet.back("n1");
    says(&mut fleet, &[]);
    assert_eq!(told(&fleet), "");
}
