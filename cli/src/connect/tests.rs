use super::*;

#[track_caller]
fn check_frames(pieces: &[&[u8]], expected: &str) {
    let mut frames = Frames::default();
    let parts: Vec<String> = pieces
        .iter()
        .flat_map(|piece| frames.push(piece))
        .map(|(channel, bytes)| format!("{channel:?} {}", String::from_utf8_lossy(&bytes)))
        .collect();
    assert_eq!(parts.join(", "), expected);
}

#[test]
fn frames_are_found_however_the_bytes_arrive() {
    check_frames(
        &[b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x03err"],
        "Stdout hi, Stderr err",
    );
    check_frames(
        &[b"\x01\0\0", b"\0\0\0\0\x04ab", b"cd"],
        "Stdout ab, Stdout cd",
    );
    check_frames(&[b"\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01x"], "Stderr x");
}

#[test]
fn lines_are_found_however_the_bytes_arrive() {
    let mut lines = ByteLines::default();
    assert_eq!(lines.push(b"one\r\ntw"), [b"one".to_vec()]);
    assert_eq!(lines.push(b"o\nthree"), [b"two".to_vec()]);
    assert_eq!(lines.finish(), Some(b"three".to_vec()));
    assert_eq!(lines.finish(), None);
}

#[track_caller]
fn check_endpoint(text: &str, expected: &str) {
    let shown = match text.parse::<Endpoint>() {
        Ok(endpoint) => endpoint.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected);
}

#[test]
fn an_endpoint_is_a_socket_or_an_address() {
    check_endpoint("unix:///run/x.sock", "unix:///run/x.sock");
    check_endpoint("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375");
    check_endpoint(
        "x.sock",
        "`x.sock` is not an address of a node: use unix:///PATH or tcp://HOST:PORT",
    );
}

#[test]
fn queries_are_percent_encoded() {
    assert_eq!(
        url("/x", &[("a", "b c"), ("d", "{\"é\"}")]),
        "/x?a=b%20c&d=%7B%22%C3%A9%22%7D"
    );
}

#[test]
fn a_refusal_without_json_is_shown_as_it_is() {
    assert_eq!(
        refusal(StatusCode::BAD_GATEWAY, b"oops\n").to_string(),
        "oops"
    );
    assert_eq!(
        refusal(StatusCode::NOT_FOUND, b"").to_string(),
        "the node answers 404 Not Found"
    );
}
