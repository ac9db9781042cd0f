use axum::body::Body;
use axum::http::Request;

use super::*;

#[track_caller]
fn check(method: &str, path: &str, expected: bool) {
    let request = Request::builder().method(method).uri(path);
    let mut call = Call::new(request.body(Body::empty()).unwrap()).unwrap();
    let path = std::mem::take(&mut call.path);
    let deed = path.last().unwrap();
    assert_eq!(needs_host(&call, deed), expected, "{method} {path:?}");
}

#[test]
fn what_no_state_can_answer_needs_the_host() {
    check("GET", "/v1.44/containers/web/logs?follow=1", true);
    check("PUT", "/containers/web/archive?path=/", true);
    check("HEAD", "/containers/web/archive?path=/", true);
    check("POST", "/containers/web/exec", true);
    check("POST", "/containers/web/attach?stream=1", true);
    check("GET", "/containers/web/json", false);
    check("POST", "/containers/web/stop", false);
    check("POST", "/containers/web/wait", false);
    check("DELETE", "/containers/web", false);
}

#[test]
fn a_signal_is_for_the_process_unless_it_ends_it_for_certain() {
    check("POST", "/containers/web/kill?signal=USR1", true);
    check("POST", "/containers/web/kill?signal=15", true);
    check("POST", "/containers/web/kill", false);
    check("POST", "/containers/web/kill?signal=SIGKILL", false);
    check("POST", "/containers/web/kill?signal=NONSENSE", false);
}
