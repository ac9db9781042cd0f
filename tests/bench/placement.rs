//! How fast the control plane places containers: `cargo bench -p scheduler --bench placement`.
//!
//! | part | what is real | what is not |
//! |---|---|---|
//! | placing | one manager: decisions, its log, its state, what every node is told | its disk takes no time, nodes say nothing |
//! | at rest | the same, full | the same |
//! | durable | three managers that agree, each with a file it waits for (`fdatasync`) | no network between them, no encryption |
//!
//! Bytes are those asked of the allocator, counted by it. Figures of swarmkit are facts of another
//! program, measured with its own benchmark and store (HEAD of 2025, go 1.27.3, two shared CPUs), without
//! consensus and without network: they are compared with `decided`, which is the same work here and
//! the writing of the log's entry besides. Times are those of the wall clock, and beside them of the
//! CPU, for machines on which others work too.
//!
//! What a node is told is put together when it is sent: `told` ends when it is known whom to tell, and
//! the line below says how long it takes for one node.
//!
//! `--quick` runs the small cases. `SECONDS=n` is how long a case may deploy (100): where that was not
//! enough, the figures are those of what was deployed by then, and it is said. `NODES=…`,
//! `SERVICES=…`, `REPLICAS=…` (comma-separated, one case each) replace the cases.

#![allow(
    unsafe_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

#[path = "placement/durable.rs"]
mod durable;
#[path = "placement/memory.rs"]
mod memory;
#[path = "placement/world.rs"]
mod world;

use std::time::{Duration, Instant};

use scheduler::model::task::{TaskState, TaskStatus};
use scheduler::report::Report;

use self::world::{Manager, Took, Wishes};

#[derive(Clone, Copy)]
struct Case {
    nodes: usize,
    services: usize,
    replicas: u32,
    wishes: Wishes,
}

/// What swarmkit came to, in placements per second of the wall clock.
const SWARMKIT: [(Case, f64); 5] = [
    (case(1_000, 10, 1_000, Wishes::Plain), 3_846.0),
    (case(1_000, 10, 1_000, Wishes::Spread), 3_822.0),
    (case(10_000, 10, 1_000, Wishes::Plain), 4_018.0),
    (case(10_000, 100, 1_000, Wishes::Spread), 2_069.0),
    (case(10_000, 1_000, 100, Wishes::Spread), 1_726.0),
];

const fn case(nodes: usize, services: usize, replicas: u32, wishes: Wishes) -> Case {
    Case {
        nodes,
        services,
        replicas,
        wishes,
    }
}

fn main() {
    let limit = std::env::var("SECONDS").map_or(100, |it| it.parse().expect("SECONDS is a number"));
    let limit = Duration::from_secs(limit);
    println!(
        "| nodes | services × replicas | wishes | decided/s | per CPU second | × swarmkit | \
         told/s | one more service | bytes a task | in the whole manager |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for case in cases() {
        run(&case, limit);
    }
    println!();
    durable::run();
}

fn cases() -> Vec<Case> {
    let numbers = |name: &str| -> Option<Vec<usize>> {
        let text = std::env::var(name).ok()?;
        Some(text.split(',').map(|it| it.parse().unwrap()).collect())
    };
    let sizes: Vec<(usize, usize, usize)> = if let Some(nodes) = numbers("NODES") {
        let services = numbers("SERVICES").expect("SERVICES beside NODES");
        let replicas = numbers("REPLICAS").expect("REPLICAS beside NODES");
        let sizes = nodes.into_iter().zip(services).zip(replicas);
        sizes
            .map(|((nodes, services), replicas)| (nodes, services, replicas))
            .collect()
    } else if std::env::args().any(|it| it == "--quick") {
        vec![(1_000, 10, 1_000), (1_000, 100, 1_000), (10_000, 10, 1_000)]
    } else {
        vec![
            (1_000, 10, 1_000),
            (1_000, 100, 1_000),
            (10_000, 10, 1_000),
            (10_000, 100, 1_000),
            (10_000, 1_000, 100),
            (1_000, 1_000, 1_000),
            (10_000, 1_000, 1_000),
        ]
    };
    let wishes = [Wishes::Plain, Wishes::Constrained, Wishes::Spread];
    sizes
        .into_iter()
        .flat_map(|(nodes, services, replicas)| {
            wishes.map(|wishes| case(nodes, services, replicas as u32, wishes))
        })
        .collect()
}

fn run(case: &Case, limit: Duration) {
    let before = memory::bytes();
    let mut manager = Manager::new(case.nodes);
    let empty = memory::bytes() - before;
    let mut took = Took::default();
    // Ten services to a stack, one stack after the other, as people deploy them.
    let names: Vec<String> = (0..case.services).map(|it| format!("s{it}")).collect();
    let began = Instant::now();
    let mut services = 0;
    for (number, names) in names.chunks(10).enumerate() {
        if began.elapsed() > limit {
            println!("| the time was over after {services} services |");
            break;
        }
        services += names.len();
        took.add(manager.deploy(&format!("stack{number}"), names, case.replicas, case.wishes));
    }
    let tasks = manager.placed();
    let all = services * case.replicas as usize;
    assert_eq!(tasks, all, "all have a node");
    let one = manager.deploy("last", &["one".to_owned()], 1, case.wishes);
    let whole = (memory::bytes() - before - empty) / tasks;
    let rest = rest(&mut manager);
    let state = manager.into_state();
    let alone =
        (memory::bytes() - before).saturating_sub(world::bytes_of_nodes(case.nodes)) / tasks;
    drop(state);
    let rate = |time: Duration| tasks as f64 / time.as_secs_f64();
    let same = |(it, _): &&(Case, f64)| {
        let size = |it: &Case| (it.nodes, it.services, it.replicas, it.wishes);
        size(it) == size(case)
    };
    let ratio = SWARMKIT.iter().find(same);
    let ratio = ratio.map_or("".to_owned(), |(_, theirs)| {
        format!("{:.0}", rate(took.decided) / theirs)
    });
    println!(
        "| {} | {} × {} | {} | {:.0} | {:.0} | {ratio} | {:.0} | {} | {alone} | {whole} |",
        case.nodes,
        case.services,
        case.replicas,
        case.wishes.words(),
        rate(took.decided),
        rate(took.decided_cpu),
        rate(took.all),
        shown(one.all),
    );
    println!("{rest}");
}

/// What it costs that all nodes are heard of and nothing changes, that a node says what is known,
/// and that one task gets on. In the time of the CPU.
fn rest(manager: &mut Manager) -> String {
    let heartbeats = manager.cpu(|manager| manager.hear_of_all());
    let tick = manager.cpu(Manager::tick);
    let task = manager.some_task();
    let node = task.node.clone().unwrap();
    let report = |status: TaskStatus| Report {
        tasks: vec![(task.id.clone(), status)],
        ..Report::default()
    };
    let known = report(task.status.clone());
    let nothing = manager.cpu(|manager| manager.report(&node, known));
    let running = TaskStatus::new(TaskState::Running, manager.now, "");
    let news = report(running);
    let one = manager.cpu(|manager| manager.report(&node, news));
    let assignment = manager.cpu(|manager| drop(manager.assignment(&node)));
    format!(
        "|  at rest | heartbeats of all {} | a tick {} | a report without news {} | with news {} | \
         what a node is told, put together {} |",
        shown(heartbeats),
        shown(tick),
        shown(nothing),
        shown(one),
        shown(assignment),
    )
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
