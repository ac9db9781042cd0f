use super::*;

#[test]
fn registries_do_not_send_us_to_this_host_or_in_clear() {
    #[track_caller]
    fn check(origin: &str, target: &str, expected: Option<&str>) {
        assert_eq!(
            forbidden(&Url::parse(origin).unwrap(), &Url::parse(target).unwrap()),
            expected,
            "{target}"
        );
    }
    let hub = "https://registry-1.docker.io/v2/";
    let local = Some("it is an address of this host");
    check(hub, "https://cdn.example.org/x", None);
    check(hub, "http://cdn.example.org/x", Some("it is not encrypted"));
    check(hub, "file:///etc/passwd", Some("it is not HTTP"));
    for target in [
        "localhost",
        "127.0.0.1:80",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "2130706433",
    ] {
        check(hub, &format!("https://{target}/"), local);
    }
    check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x", None);
    check("http://10.0.0.1:5000/v2/", "http://127.0.0.1/x", local);
}

#[test]
fn errors_of_registries_are_one_short_line() {
    let (code, text) =
        error_code(b"{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"a\\nb\\u001b[31m\"}]}");
    assert_eq!((code.as_str(), text.as_str()), ("NAME_UNKNOWN", "a b [31m"));
    assert_eq!(error_code(b"").1, "no reason given");
    assert_eq!(error_code(&[b'x'; 5_000]).1.len(), 200);
}

#[test]
fn a_certificate_that_proves_nothing_is_found_however_deep_it_lies() {
    let invalid = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let deep = std::io::Error::other(std::io::Error::other(invalid));
    assert!(says_untrusted(&deep));
    assert!(!says_untrusted(&std::io::Error::other("reset")));
}
