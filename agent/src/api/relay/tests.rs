use super::*;

#[test]
fn what_belongs_to_one_connection_is_not_carried_on() {
    let mut headers = HeaderMap::new();
    for name in [
        "transfer-encoding",
        "expect",
        "connection",
        "upgrade",
        "content-type",
    ] {
        headers.insert(HeaderName::from_static(name), "x".parse().unwrap());
    }
    let mut upgrading = headers.clone();
    clear(&mut headers, Upgrades::No);
    let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["content-type"]);
    clear(&mut upgrading, Upgrades::Yes);
    assert_eq!(upgrading.len(), 3);
}
