//! `up`, `down` and their like against a node that plays a part.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Place;
use super::fake_node::FakeNode;

const COMPOSE: &str = "\
name: shop
services:
  web: {image: img, depends_on: {db: {condition: service_healthy}}}
  db: {image: img, healthcheck: {test: 'true'}}
";

/// A container at a point of its life.
fn container(service: &str, state: &str, more: &Value) -> Value {
    let mut container = json!({
        "id": format!("{service:0<64}"), "task": format!("{service}-1"), "name": format!("shop-{service}-1"),
        "slot": 1, "node": "here", "state": state, "desired": "running", "at": 0, "reason": "",
        "exit_code": null, "health": null, "current": true, "one_off": false, "restarts": 0,
    });
    merge(&mut container, more);
    container
}

fn service(name: &str, phase: &str, reason: &str, containers: &[Value]) -> Value {
    json!({
        "name": name, "image": "img", "wanted": 1, "phase": phase, "reason": reason,
        "depends_on": if name == "web" { vec!["db"] } else { vec![] },
        "has_healthcheck": name == "db", "attach": true, "containers": containers,
    })
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

/// A picture of the stack, as a line.
fn picture(revision: u64, services: &[Value], networks: &[&str]) -> String {
    let networks: Vec<_> = networks
        .iter()
        .map(|it| json!({"name": it, "removing": false}))
        .collect();
    let status =
        json!({"name": "shop", "revision": revision, "services": services, "networks": networks});
    format!("{status}\n")
}

fn accepted() -> Vec<String> {
    vec![json!({"revision": 2, "warnings": ["found an orphan: shop-old-1"]}).to_string()]
}

fn nothing() -> String {
    picture(1, &[], &[])
}

fn healthy() -> Value {
    json!({"health": {"status": "healthy", "failing_streak": 0, "retries": 3, "last_probe": null}})
}

fn all_running() -> String {
    let db = service(
        "db",
        "settled",
        "",
        &[container("db", "running", &healthy())],
    );
    let web = service(
        "web",
        "settled",
        "",
        &[container("web", "running", &json!({}))],
    );
    picture(3, &[db, web], &["shop_default"])
}

fn coming_up() -> String {
    let probing = json!({"health": {"status": "starting", "failing_streak": 1, "retries": 3, "last_probe": "exit code 1"}});
    let db = service("db", "settled", "", &[container("db", "running", &probing)]);
    let web = service(
        "web",
        "waiting",
        "db: waiting to be healthy",
        &[container("web", "pending", &json!({}))],
    );
    picture(2, &[db, web], &["shop_default"])
}

#[test]
fn up_shows_the_way_and_leaves_when_all_runs() {
    let place = Place::with(COMPOSE);
    let watch = nothing() + &coming_up() + &all_running();
    let node = FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            ("PUT /x/stacks/shop", accepted()),
            ("GET /x/stacks/shop/watch", vec![watch]),
        ],
    );
    assert_snapshot!(place.run("up -d --scale web=1"), @r#"
    --- stderr
    warning: found an orphan: shop-old-1
     Network shop_default Created
     Container shop-db-1 Waiting probe 1/3: exit code 1
     Container shop-web-1 Waiting db: waiting to be healthy
     Container shop-db-1 Healthy
     Container shop-web-1 Started
    "#);
    let asked = node.asked();
    assert_eq!(asked.len(), 3, "few requests: {asked:?}");
    assert!(asked[1].contains(r#""scale":{"web":1}"#), "{}", asked[1]);
}

#[test]
fn up_on_no_change_says_that_all_is_running() {
    let place = Place::with(COMPOSE);
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![all_running()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 3}).to_string()],
            ),
            ("GET /x/stacks/shop/watch", vec![all_running()]),
        ],
    );
    assert_snapshot!(place.run("up -d"), @r#"
    --- stderr
     Container shop-db-1 Running
     Container shop-web-1 Running
    "#);
}

#[test]
fn a_failure_is_told_with_its_log_and_who_waited() {
    let place = Place::with(COMPOSE);
    let failed = json!({"exit_code": 3, "reason": "exited"});
    let db = service(
        "db",
        "failed",
        "exited",
        &[container("db", "failed", &failed)],
    );
    let web = service(
        "web",
        "failed",
        "db has failed",
        &[container("web", "pending", &json!({}))],
    );
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 2}).to_string()],
            ),
            (
                "GET /x/stacks/shop/watch",
                vec![picture(2, &[db, web], &[])],
            ),
            (
                "GET /containers/db00000000000000000000000000000000000000000000000000000000000000/logs",
                vec!["\x01\0\0\0\0\0\0\x292026-01-01T00:00:00Z cannot open /data/x\n".to_owned()],
            ),
        ],
    );
    assert_snapshot!(place.run("up -d"), @r#"
    --- stderr
     Container shop-db-1 Error exited
     Container shop-web-1 Error db has failed
    the end of the log of shop-db-1:
      cannot open /data/x
    error: service db failed: container shop-db-1 exited with code 3; web was waiting for it
    hint: The containers are kept: see `wharfie ps -a` and `wharfie logs`.
    --- exit 1
    "#);
}

#[test]
fn an_attached_up_shows_what_is_said_and_how_it_ends() {
    let place = Place::with("name: shop\nservices: {job: {image: img}}");
    let running = service(
        "job",
        "settled",
        "",
        &[container("job", "running", &json!({}))],
    );
    let ended = json!({"exit_code": 0, "reason": "exited"});
    let ended = service(
        "job",
        "settled",
        "",
        &[container("job", "complete", &ended)],
    );
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 2}).to_string()],
            ),
            (
                "GET /x/stacks/shop/watch",
                vec![picture(2, &[running], &[]), picture(3, &[ended], &[])],
            ),
            (
                "GET /containers/job0000000000000000000000000000000000000000000000000000000000000/logs",
                vec!["\x01\0\0\0\0\0\0\x1a2026-01-01T00:00:00Z hello\n".to_owned()],
            ),
        ],
    );
    assert_snapshot!(place.run("up"), @r#"
    Attaching to job-1
    job-1  | hello
    job-1 exited with code 0
    --- stderr
     Container shop-job-1 Started
    "#);
}

#[test]
fn down_says_what_is_removed() {
    let place = Place::with(COMPOSE);
    let removing = json!({"desired": "remove"});
    let db = service(
        "db",
        "removing",
        "",
        &[container("db", "shutdown", &removing)],
    );
    let web = service(
        "web",
        "removing",
        "",
        &[container("web", "running", &removing)],
    );
    let watch = picture(2, &[db, web], &["shop_default"])
        + &picture(3, &[], &["shop_default"])
        + &picture(4, &[], &[]);
    let node = FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![all_running()]),
            (
                "POST /x/stacks/shop/down",
                vec![json!({"revision": 2}).to_string()],
            ),
            ("GET /x/stacks/shop/watch", vec![watch]),
        ],
    );
    assert_snapshot!(place.run("down -t 3"), @r#"
    --- stderr
     Container shop-db-1 Removing
     Container shop-web-1 Stopping
     Container shop-db-1 Removed
     Container shop-web-1 Removed
     Network shop_default Removed
    "#);
    assert!(node.asked()[1].contains(r#""timeout":3"#));
}

#[test]
fn a_refusal_is_shown_with_its_hint() {
    let place = Place::with(COMPOSE);
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![
                    r#"!{"message": "port 80 is taken", "hint": "Stop `blog` first."}"#.to_owned(),
                ],
            ),
        ],
    );
    assert_snapshot!(place.run("up -d"), @r#"
    --- stderr
    error: port 80 is taken
    hint: Stop `blog` first.
    --- exit 1
    "#);
}

#[test]
fn progress_may_be_json_or_nothing() {
    let place = Place::with(COMPOSE);
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 3}).to_string()],
            ),
            ("GET /x/stacks/shop/watch", vec![all_running()]),
        ],
    );
    assert_snapshot!(place.run("--progress json up -d"), @r#"
    --- stderr
    {"id":"Network shop_default","status":"Done","text":"Created"}
    {"id":"Container shop-db-1","status":"Done","text":"Started"}
    {"id":"Container shop-web-1","status":"Done","text":"Started"}
    "#);
    assert_eq!(place.run("--progress quiet up -d"), "");
}

#[test]
fn ctrl_c_stops_an_attached_up_and_the_exit_code_says_so() {
    let place = Place::with("name: shop\nservices: {web: {image: img}}");
    let running = || {
        service(
            "web",
            "settled",
            "",
            &[container("web", "running", &json!({}))],
        )
    };
    let ended = json!({"desired": "shutdown", "exit_code": 143, "reason": "stopped"});
    let ended = service(
        "web",
        "settled",
        "",
        &[container("web", "shutdown", &ended)],
    );
    let node = FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 2}).to_string()],
            ),
            (
                "POST /x/stacks/shop/stop",
                vec![json!({"revision": 3}).to_string()],
            ),
            (
                "GET /x/stacks/shop/watch after POST /x/stacks/shop/stop",
                vec![picture(4, &[ended], &[])],
            ),
            (
                "GET /x/stacks/shop/watch",
                vec![picture(2, &[running()], &[])],
            ),
        ],
    );
    let up = place.start("up");
    // The first watch shows the way, the second one the session: now it listens for signals.
    eventually(|| {
        node.asked()
            .iter()
            .filter(|it| it.contains("/watch"))
            .count()
            > 1
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(up.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_snapshot!(place.written_down(up.wait_with_output().unwrap()), @r#"
    Attaching to web-1
    web-1 exited with code 143
    --- stderr
     Container shop-web-1 Started

    Gracefully Stopping... press Ctrl+C again to force
     Container shop-web-1 Stopped
    --- exit 130
    "#);
}

#[test]
fn an_attached_up_ends_when_what_is_left_can_never_begin() {
    let place = Place::with(COMPOSE);
    let failed = json!({"exit_code": 3, "reason": "exited"});
    let db = service(
        "db",
        "failed",
        "exited",
        &[container("db", "failed", &failed)],
    );
    let web = service(
        "web",
        "failed",
        "db has failed",
        &[container("web", "pending", &json!({}))],
    );
    FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![nothing()]),
            (
                "PUT /x/stacks/shop",
                vec![json!({"revision": 2}).to_string()],
            ),
            (
                "GET /x/stacks/shop/watch",
                vec![picture(2, &[db, web], &[])],
            ),
        ],
    );
    let said = place.run("up");
    let story = "service db failed: container shop-db-1 exited with code 3; web was waiting for it";
    assert!(said.contains(story), "{said}");
    assert!(said.ends_with("--- exit 1\n"), "{said}");
}

/// Waits for a condition, a minute at most.
#[track_caller]
fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..6000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it never came true");
}
