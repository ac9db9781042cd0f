use std::time::Duration;

use scheduler::model::id::{ContainerId, TaskId};
use scheduler::model::rollout::RolloutPhase;
use scheduler::model::task::{DesiredState, Health, HealthStatus, TaskState};
use scheduler::model::time::Timestamp;
use scheduler::status::{
    ContainerStatus, ResourceStatus, RolloutStatus, ServicePhase, ServiceStatus, StackStatus,
};

use super::*;
use crate::terminal::Size;

/// A stack from a drawing: `web:running db:starting/waiting`, `-` for nothing.
///
/// A word is `service:state[.task][!][/phase]`; `!` is a health check that is still failing, `+` a
/// healthy one, and `x` before the state says that the container is to be removed.
pub(crate) fn stack(drawing: &str) -> StackStatus {
    let mut stack = StackStatus {
        name: "shop".to_owned(),
        ..StackStatus::default()
    };
    for word in drawing.split_whitespace().filter(|it| *it != "-") {
        match word.split_once(':') {
            None => stack.networks.push(ResourceStatus {
                name: word.trim_start_matches('x').to_owned(),
                removing: word.starts_with('x'),
            }),
            Some((name, rest)) => stack.services.push(service(name, rest)),
        }
    }
    stack
}

fn service(name: &str, drawing: &str) -> ServiceStatus {
    let (container, phase) = drawing.split_once('/').unwrap_or((drawing, "settled"));
    let phase: ServicePhase = serde_json::from_value(phase.into()).unwrap();
    ServiceStatus {
        name: name.to_owned(),
        image: "img".to_owned(),
        wanted: 1,
        phase,
        reason: if phase == ServicePhase::Settled {
            String::new()
        } else {
            "the reason".to_owned()
        },
        depends_on: if name == "web" {
            vec!["db".to_owned()]
        } else {
            Vec::new()
        },
        has_healthcheck: container.ends_with(['!', '+']),
        attach: true,
        containers: vec![self::container(name, container)],
        rollout: None,
    }
}

fn container(service: &str, drawing: &str) -> ContainerStatus {
    let health = match drawing.chars().last() {
        Some('!') => Some((HealthStatus::Starting, 3)),
        Some('+') => Some((HealthStatus::Healthy, 0)),
        _ => None,
    };
    let (removed, drawing) = match drawing.strip_prefix('x') {
        Some(rest) => (true, rest),
        None => (false, drawing),
    };
    let (state, task) = drawing
        .trim_end_matches(['!', '+'])
        .split_once('.')
        .unwrap_or((drawing.trim_end_matches(['!', '+']), "1"));
    let state: TaskState = serde_json::from_value(state.into()).unwrap();
    ContainerStatus {
        id: ContainerId::new(format!("{service}-{task}")),
        task: TaskId::new(format!("{service}-{task}")),
        name: format!("shop-{service}-1"),
        slot: 1,
        node: (state > TaskState::Pending).then(|| "here".to_owned()),
        state,
        desired: match (removed, state) {
            (true, _) => DesiredState::Remove,
            (false, TaskState::Shutdown) => DesiredState::Shutdown,
            (false, _) => DesiredState::Running,
        },
        at: Timestamp::EPOCH,
        reason: "it broke".to_owned(),
        exit_code: (state == TaskState::Failed).then_some(3),
        health: health.map(|(status, failing_streak)| Health {
            status,
            failing_streak,
            retries: 5,
            last_probe: Some("connection refused".to_owned()),
        }),
        current: true,
        one_off: false,
        restarts: 0,
        restarted_after: None,
        fault: None,
        awaits: None,
        unstarted: false,
    }
}

/// What is said while the stack goes from picture to picture.
#[track_caller]
fn check(intent: Intent, before: &str, pictures: &[&str], expected: &str) {
    let mut differ = Differ::new(&stack(before), intent);
    let said: Vec<String> = pictures
        .iter()
        .map(|picture| {
            let events = differ.events(&stack(picture));
            events
                .iter()
                .map(|it| plain(it).trim_start().to_owned())
                .collect::<Vec<_>>()
                .join("; ")
        })
        .collect();
    assert_eq!(said.join("\n"), expected);
}

#[test]
fn a_new_stack_is_created_and_started() {
    check(
        Intent::Up,
        "-",
        &[
            "net web:preparing/progressing",
            "net web:ready/progressing",
            "net web:starting/progressing",
            "net web:running",
        ],
        "Network net Created; Container shop-web-1 Creating\nContainer shop-web-1 Created\nContainer shop-web-1 Starting\nContainer shop-web-1 Started",
    );
}

#[test]
fn what_has_been_running_is_running() {
    check(
        Intent::Up,
        "net web:running",
        &["net web:running"],
        "Container shop-web-1 Running",
    );
}

#[test]
fn a_picture_that_says_the_same_says_nothing() {
    check(
        Intent::Up,
        "-",
        &["web:running", "web:running"],
        "Container shop-web-1 Started\n",
    );
}

#[test]
fn a_changed_container_is_recreated() {
    check(
        Intent::Up,
        "web:running",
        &["web:preparing.2/progressing", "web:running.2"],
        "Container shop-web-1 Recreate\nContainer shop-web-1 Started",
    );
}

#[test]
fn one_that_others_wait_for_is_shown_with_its_probes() {
    check(
        Intent::Up,
        "-",
        &[
            "db:running! web:pending/waiting",
            "db:running+ web:running",
            "db:running+ web:running",
        ],
        "Container shop-db-1 Waiting probe 3/5: connection refused; Container shop-web-1 Waiting the reason\n\
         Container shop-db-1 Healthy; Container shop-web-1 Started\n",
    );
}

#[test]
fn one_without_a_place_says_why() {
    check(
        Intent::Up,
        "-",
        &["web:pending/progressing", "web:starting/progressing"],
        "Container shop-web-1 Waiting it broke\nContainer shop-web-1 Starting",
    );
}

#[test]
fn what_is_lost_with_its_node_is_not_waited_for() {
    check(Intent::Up, "web:running", &["web:xorphaned"], "");
}

#[test]
fn a_failure_that_is_final_is_an_error_and_any_other_a_restart() {
    check(
        Intent::Up,
        "-",
        &["web:failed/progressing", "web:failed/failed"],
        "\nContainer shop-web-1 Error it broke",
    );
}

#[test]
fn what_ends_again_and_again_is_said_once_for_each_time() {
    let run = |drawing: &str, restarts: u32| {
        let mut stack = stack(drawing);
        for container in stack.services.iter_mut().flat_map(|it| &mut it.containers) {
            container.restarts = restarts;
            container.restarted_after = Some("exit code 1".to_owned());
        }
        stack
    };
    let pictures = [
        run("db:pending/progressing web:pending/waiting", 1),
        run("db:preparing/progressing web:pending/waiting", 1),
        run("db:starting/progressing web:pending/waiting", 1),
        run("db:running!/settled web:pending/waiting", 1),
        run("db:failed/progressing web:pending/waiting", 1),
        run("db:preparing/progressing web:pending/waiting", 2),
        run("db:running+/settled web:pending/waiting", 2),
    ];
    let mut differ = Differ::new(&stack("-"), Intent::Up);
    let said: Vec<String> = pictures
        .iter()
        .flat_map(|it| differ.events(it))
        .filter(|it| it.id == "Container shop-db-1")
        .map(|it| plain(&it))
        .collect();
    assert_eq!(
        said,
        [
            " Container shop-db-1 Restarting exit code 1, attempt 1",
            " Container shop-db-1 Restarting exit code 1, attempt 2",
            " Container shop-db-1 Healthy"
        ]
    );
}

#[test]
fn a_pull_that_failed_is_not_called_done() {
    let mut pulling = stack("web:preparing/progressing");
    pulling.pulls = vec![scheduler::status::PullStatus {
        image: "img".to_owned(),
        ..Default::default()
    }];
    let mut differ = Differ::new(&stack("-"), Intent::Up);
    let said: Vec<String> = [pulling, stack("web:rejected/failed")]
        .iter()
        .flat_map(|it| differ.events(it))
        .filter(|it| it.id == "Image img")
        .map(|it| plain(&it))
        .collect();
    assert_eq!(said, [" Image img Pulling", " Image img Error"]);
}

#[test]
fn a_pull_is_over_when_the_command_is() {
    let mut pulling = stack("web:running");
    pulling.pulls = ["img", "of-another-stack"]
        .map(|image| scheduler::status::PullStatus {
            image: image.to_owned(),
            ..Default::default()
        })
        .to_vec();
    let mut differ = Differ::new(&stack("-"), Intent::Up);
    let mut said = differ.events(&pulling);
    said.extend(differ.last_words(&pulling));
    let images = said.iter().filter(|it| it.id.starts_with("Image "));
    let images: Vec<String> = images.map(plain).collect();
    assert_eq!(images, [" Image img Pulling", " Image img Pulled"]);
}

#[test]
fn a_container_that_was_stopped_starts() {
    // Another run of the same container.
    let mut again = stack("web:preparing/progressing");
    again.services[0].containers[0].task = TaskId::new("another run");
    let mut ready = again.clone();
    ready.services[0].containers[0].state = TaskState::Ready;
    let mut runs = again.clone();
    runs.services[0].containers[0].state = TaskState::Running;
    let mut differ = Differ::new(&stack("web:shutdown"), Intent::Up);
    let said: Vec<String> = [again, ready, runs]
        .iter()
        .flat_map(|it| differ.events(it))
        .map(|it| plain(&it))
        .collect();
    let name = " Container shop-web-1";
    assert_eq!(
        said,
        [format!("{name} Starting"), format!("{name} Started")]
    );
    check(
        Intent::Up,
        "web:ready",
        &["web:ready/progressing", "web:starting/progressing"],
        "Container shop-web-1 Starting\n",
    );
}

#[test]
fn what_a_container_waits_for_is_said_while_it_is_not_there() {
    let with = |drawing: &str| {
        let mut stack = stack(drawing);
        stack.services[0].containers[0].awaits = Some("for node b to return".to_owned());
        stack
    };
    let mut differ = Differ::new(&stack("web:running"), Intent::Up);
    // One that is made before the old one stops.
    let mut made = with("web:assigned.2/progressing");
    made.services[0].containers[0].desired = DesiredState::Ready;
    let pictures = [
        made,
        with("web:running/waiting"),
        with("web:running"),
        with("web:xrunning/removing"),
    ];
    let said: Vec<String> = pictures
        .iter()
        .flat_map(|it| differ.events(it))
        .map(|it| plain(&it))
        .collect();
    let name = " Container shop-web-1";
    let expected = [
        "Waiting for node b to return",
        "Running",
        "Stopping waiting for node b to return",
    ];
    assert_eq!(said, expected.map(|it| format!("{name} {it}")));
}

#[test]
fn a_long_error_is_told_whole_at_the_end_only() {
    let long = event_of(&"x".repeat(300));
    assert_eq!(plain(&long).chars().count(), " Image a Error ".len() + 101);
    assert_eq!(plain(&event_of("short")), " Image a Error short");
}

fn event_of(details: &str) -> Event {
    Event {
        id: "Image a".to_owned(),
        word: "Error",
        kind: Kind::Error,
        details: details.to_owned(),
        bytes: None,
    }
}

#[test]
fn what_never_was_is_not_removed() {
    let before = stack("net web:pending/waiting");
    let mut differ = Differ::new(&before, Intent::Stop);
    let said: Vec<String> = differ.events(&stack("-")).iter().map(plain).collect();
    assert_eq!(said, [" Network net Removed"]);
}

#[test]
fn a_network_is_gone_when_its_bridge_is() {
    let mut leaving = stack("-");
    leaving.leaving_networks = vec!["net".to_owned(), "of-another-stack".to_owned()];
    let mut differ = Differ::new(&stack("net"), Intent::Stop);
    let said: Vec<String> = [leaving, stack("-")]
        .iter()
        .flat_map(|it| differ.events(it))
        .map(|it| plain(&it))
        .collect();
    assert_eq!(said, [" Network net Removing", " Network net Removed"]);
}

#[test]
fn a_bridge_that_another_node_has_yet_to_remove_does_not_bring_the_network_back() {
    let mut leaving = stack("-");
    leaving.leaving_networks = vec!["net".to_owned()];
    let mut differ = Differ::new(&stack("net"), Intent::Stop);
    let said: Vec<String> = [stack("-"), leaving, stack("-")]
        .iter()
        .flat_map(|it| differ.events(it))
        .map(|it| plain(&it))
        .collect();
    assert_eq!(said, [" Network net Removed"]);
}

#[test]
fn how_an_update_ended_is_said_once() {
    let mut paused = stack("web:running");
    paused.services[0].rollout = Some(RolloutStatus {
        phase: RolloutPhase::Paused,
        reason: "it broke".to_owned(),
        started_at: Timestamp::EPOCH,
        ended_at: None,
        updated: 0,
        total: 1,
        text: "paused: it broke".to_owned(),
    });
    let mut differ = Differ::new(&stack("web:running"), Intent::Up);
    let events = differ.events(&paused);
    let said: Vec<String> = events.iter().map(plain).collect();
    assert_eq!(said[0], " Service web Paused it broke");
}

#[test]
fn down_says_what_stops_and_what_is_gone() {
    check(
        Intent::Stop,
        "net web:running",
        &["net web:xrunning", "net web:xshutdown", "xnet", "-"],
        "Container shop-web-1 Stopping\nContainer shop-web-1 Removing\n\
         Network net Removing; Container shop-web-1 Removed\nNetwork net Removed",
    );
}

#[test]
fn kill_has_its_own_words() {
    check(
        Intent::Kill,
        "web:running",
        &["web:shutdown"],
        "Container shop-web-1 Killed",
    );
}

#[test]
fn what_ended_by_itself_was_not_stopped() {
    let with_shutdown = |drawing: &str| {
        let mut stack = stack(drawing);
        for container in stack.services.iter_mut().flat_map(|it| &mut it.containers) {
            container.desired = DesiredState::Shutdown;
        }
        stack
    };
    let said = |drawing: &str| {
        let events = Differ::new(&stack("-"), Intent::Up).events(&with_shutdown(drawing));
        events.iter().map(plain).collect::<Vec<_>>().join(";")
    };
    assert_eq!(said("job:complete"), " Container shop-job-1 Exited");
    assert_eq!(
        said("job:rejected/failed"),
        " Container shop-job-1 Error it broke"
    );
    assert_eq!(said("web:shutdown"), " Container shop-web-1 Stopped");
}

#[test]
fn what_stays_as_it_is_is_not_spoken_of() {
    check(
        Intent::Restart,
        "web:running db:running",
        &[
            "web:starting.2/progressing db:running",
            "web:running.2 db:running",
        ],
        "Container shop-web-1 Restarting\nContainer shop-web-1 Started",
    );
}

#[test]
fn an_event_is_an_object_on_a_line() {
    let event = Event {
        id: "Image nginx".to_owned(),
        word: "Pulling",
        kind: Kind::Working,
        details: String::new(),
        bytes: Some((1, 4)),
    };
    assert_eq!(
        machine(&event),
        r#"{"current":1,"id":"Image nginx","percent":25,"status":"Working","text":"Pulling","total":4}"#
    );
}

fn board(columns: u16, rows: u16) -> String {
    let began = Instant::now();
    let mut board = tty::Board::new("Running", Colour::Off);
    let event = |id: &str, word, kind, details: &str| Event {
        id: id.to_owned(),
        word,
        kind,
        details: details.to_owned(),
        bytes: None,
    };
    board.update(
        event("Network shop_default", "Created", Kind::Done, ""),
        began,
    );
    board.update(
        event("Container shop-db-1", "Healthy", Kind::Done, ""),
        began,
    );
    let waiting = "db: probe 1/5: connection refused";
    board.update(
        event("Container shop-web-1", "Waiting", Kind::Working, waiting),
        began,
    );
    board
        .lines(Size { columns, rows }, began + Duration::from_millis(2300))
        .join("\n")
}

#[test]
fn the_board_has_a_header_and_a_line_for_each() {
    insta::assert_snapshot!(board(80, 24), @r#"
    [+] Running 2/3
     ✔ Network shop_default  Created                                           0.0s
     ✔ Container shop-db-1   Healthy                                           0.0s
     ⠸ Container shop-web-1  Waiting  db: probe 1/5: connection refused        2.3s
    "#);
}

#[test]
fn details_are_cut_first() {
    insta::assert_snapshot!(board(50, 24), @r#"
    [+] Running 2/3
     ✔ Network shop_default  Created             0.0s
     ✔ Container shop-db-1   Healthy             0.0s
     ⠸ Container shop-web-1  Waiting  db: probe… 2.3s
    "#);
}

#[test]
fn what_is_done_gives_way_when_there_are_too_few_rows() {
    insta::assert_snapshot!(board(80, 4), @r#"
    [+] Running 2/3
     ⠸ Container shop-web-1  Waiting  db: probe 1/5: connection refused        2.3s
     ... 2 more
    "#);
}
