use scheduler::model::node::NodeDescription;

use super::*;

fn hello() -> Hello {
    Hello {
        version: VERSION,
        node: NodeId::new("n1"),
        description: NodeDescription::default(),
        address: None,
        epoch: 3,
        generation: 7,
    }
}

fn leading() -> Standing {
    Standing {
        leads: true,
        leader: None,
        epoch: 3,
        knows: true,
    }
}

#[track_caller]
fn check(hello: &Hello, standing: &Standing, expected: &str) {
    let said = match objection(hello, &NodeId::new("n1"), standing) {
        None => "welcome".to_owned(),
        Some(ToNode::Elsewhere { leader }) => {
            format!("elsewhere: {:?}", leader.map(|(node, _)| node))
        }
        Some(ToNode::Refused { reason }) => reason,
        Some(other) => panic!("{other:?}"),
    };
    assert!(said.contains(expected), "{said}");
}

#[test]
fn only_the_leader_opens_sessions() {
    check(&hello(), &leading(), "welcome");
    let follower = Standing {
        leads: false,
        leader: Some((NodeId::new("n2"), "10.0.0.2:2377".parse().unwrap())),
        ..leading()
    };
    check(&hello(), &follower, "elsewhere: Some(n2)");
}

#[test]
fn a_manager_of_an_epoch_that_is_over_sends_nodes_away() {
    let recovered = Hello {
        epoch: 4,
        ..hello()
    };
    check(&recovered, &leading(), "elsewhere: None");
    let older = Hello {
        epoch: 2,
        ..hello()
    };
    check(&older, &leading(), "welcome");
}

#[test]
fn a_node_is_who_its_certificate_says() {
    let other = Hello {
        node: NodeId::new("n9"),
        ..hello()
    };
    check(&other, &leading(), "its certificate names n1");
    let removed = Standing {
        knows: false,
        ..leading()
    };
    check(&hello(), &removed, "removed");
}

#[test]
fn a_version_that_is_not_understood_is_refused_with_what_helps() {
    for version in [0, VERSION + 1] {
        let hello = Hello { version, ..hello() };
        check(&hello, &leading(), "upgrade managers first");
    }
}
