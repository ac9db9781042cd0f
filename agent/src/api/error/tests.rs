use super::*;

#[track_caller]
fn check(error: EngineError, expected: &str) {
    assert_eq!(format!("{} {error}", error.status().as_u16()), expected);
}

#[test]
fn errors_have_docker_s_status_and_words() {
    check(
        EngineError::NoSuchContainer("x".into()),
        "404 No such container: x",
    );
    check(
        EngineError::NoSuchVolume("x".into()),
        "404 get x: no such volume",
    );
    check(
        EngineError::NoSuchNetwork("x".into()),
        "404 network x not found",
    );
    check(
        Refusal::NetworkExists {
            network: "n".into(),
        }
        .into(),
        "409 network with name n already exists",
    );
    check(
        Refusal::NetworkPredefined {
            network: "bridge".into(),
        }
        .into(),
        "403 bridge is a pre-defined network and cannot be removed",
    );
    check(
        Refusal::ContainerRunning { name: "c".into() }.into(),
        "409 You cannot remove a running container c. Stop the container before attempting removal or force remove",
    );
}

#[test]
fn causes_follow_after_colons() {
    #[derive(Debug, Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::io::Error);
    let error = Outer(std::io::Error::other("disk on fire"));
    assert_eq!(chain(&error), "cannot read it: disk on fire");
}
