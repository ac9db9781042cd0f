//! Ctrl-C while the node is being asked: an attached `up` leaves nothing running that it asked for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::Place;
use super::fake_node::FakeNode;

fn place() -> (Place, FakeNode) {
    let place = Place::with("name: shop\nservices: {web: {image: img}}\n");
    let picture = |revision: u64| {
        format!(
            "{}\n",
            json!({ "name": "shop", "revision": revision, "services": [], "networks": [] })
        )
    };
    let accepted = |revision: u64| vec![json!({ "revision": revision }).to_string()];
    let node = FakeNode::start(
        &place.socket(),
        vec![
            ("GET /x/stacks/shop", vec![picture(1)]),
            ("PUT /x/stacks/shop", accepted(2)),
            ("POST /x/stacks/shop/stop", accepted(3)),
            (
                "GET /x/stacks/shop/watch after POST /x/stacks/shop/stop",
                vec![picture(3)],
            ),
            ("GET /x/stacks/shop/watch", vec![picture(2)]),
        ],
    );
    (place, node)
}

fn interrupt(up: &Child) {
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
}

#[test]
fn what_the_node_took_on_meanwhile_is_stopped() {
    let (place, node) = place();
    let held = node.hold();
    let mut up = place.start("up");
    node.waits_for("PUT /x/stacks/shop");
    interrupt(&up);
    let mut complaints = BufReader::new(up.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("Waiting for the node's answer") {
        assert!(complaints.read_line(&mut said).unwrap() > 0, "{said}");
    }
    drop(held);
    complaints.read_to_string(&mut said).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130), "{said}");
    let asked = node.asked();
    let stop = asked.iter().find(|it| it.starts_with("POST"));
    let stop = stop.unwrap_or_else(|| panic!("it is not stopped: {asked:?} {said}"));
    assert!(stop.contains(r#""services":["web"]"#), "{stop}");
}

#[test]
fn nobody_waits_for_a_node_that_does_not_answer() {
    let (place, node) = place();
    let _held = node.hold();
    let mut up = place.start("up");
    node.waits_for("PUT /x/stacks/shop");
    interrupt(&up);
    let mut complaints = BufReader::new(up.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("press Ctrl+C again") {
        assert!(complaints.read_line(&mut said).unwrap() > 0, "{said}");
    }
    interrupt(&up);
    assert_eq!(up.wait().unwrap().code(), Some(130));
}
