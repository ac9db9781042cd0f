use super::*;

#[track_caller]
fn check(path: &str, expected: &str) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let found = match Call::new(request) {
        Ok(call) => call.path.join(" | "),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn paths_are_read_with_and_without_a_version() {
    check("/_ping", "_ping");
    check("/v1.24/containers/json", "containers | json");
    check("/v1.99/containers/json?all=1", "containers | json");
    check("/v1/containers", "v1 | containers");
    check(
        "/images/127.0.0.1:5000/a/b/json",
        "images | 127.0.0.1:5000 | a | b | json",
    );
    check("/images/a%2Fb/json", "images | a/b | json");
}

#[test]
fn there_is_one_way_only_to_write_a_path() {
    for path in [
        "/",
        "//containers/json",
        "/containers//json",
        "/v1.41",
        "/a%2",
        "/a%zz",
        "/a%ff",
    ] {
        check(path, "page not found");
    }
}

#[tokio::test]
async fn null_and_absent_are_the_same() {
    let body = r#"{"a":null,"b":[null,1],"ExposedPorts":{"80/tcp":null},"c":{"d":null}}"#;
    let request = Request::builder().uri("/x").body(Body::from(body)).unwrap();
    let read: Value = Call::new(request).unwrap().json().await.unwrap();
    assert_eq!(
        read.to_string(),
        r#"{"ExposedPorts":{"80/tcp":{}},"b":[1],"c":{}}"#
    );
}

#[tokio::test]
async fn bad_json_is_a_bad_request() {
    for body in ["{", "[1", "{\"a\":}", "\u{0}"] {
        let request = Request::builder().uri("/x").body(Body::from(body)).unwrap();
        let read = Call::new(request).unwrap().json::<Value>().await;
        assert!(matches!(read, Err(EngineError::BadRequest(_))), "{body}");
    }
}
