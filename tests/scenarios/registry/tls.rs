//! A registry that speaks TLS, with a certificate of an authority that only its owner knows.

use std::fs;

use super::{Registry, file_of, log_in, marker, only_anna};
use crate::support::Host;

/// Not on loopback, where a registry without certificates would be spoken to in clear.
const ADDRESS: &str = "192.0.2.10:5443";

/// A host with the address, an authority in the file `ca.crt`, and an `/etc` of its own to put it in.
fn host() -> Host {
    let mut host = Host::bare();
    let script = format!(
        r#"set -eu
cp -a /etc {etc}
rm -rf {etc}/wharfie {etc}/docker
mount --bind {etc} /etc
ip addr add 192.0.2.10/32 dev lo
cd {home}
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=our authority" -keyout ca.key -out ca.crt
openssl req -newkey rsa:2048 -nodes -subj "/CN=registry" -keyout registry.key -out registry.csr
printf 'subjectAltName=IP:192.0.2.10\n' > names
openssl x509 -req -in registry.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out registry.crt"#,
        etc = host.path("etc").display(),
        home = host.path("").display(),
    );
    host.shell(&script).succeeds();
    host.start_agent();
    host
}

fn registry(host: &Host, auth: &str, curl: &str) -> Registry {
    let http = format!(
        ", tls: {{certificate: {}, key: {}}}",
        host.path("registry.crt").display(),
        host.path("registry.key").display()
    );
    let curl = format!("--cacert {} {curl}", host.path("ca.crt").display());
    Registry::serve(host, &format!("https://{ADDRESS}"), &http, auth, &curl)
}

fn file() -> String {
    file_of(&format!("{ADDRESS}/tools/box:1"))
}

/// Puts the authority where a line says.
fn trust(host: &Host, folder: &str) {
    let line = format!(
        "mkdir -p {folder}/{ADDRESS} && cp {} {folder}/{ADDRESS}/ca.crt",
        host.path("ca.crt").display()
    );
    host.shell(&line).succeeds();
}

#[test]
fn an_authority_that_is_not_known_is_told_with_what_to_do_and_counts_once_it_is_there() {
    let host = host();
    let registry = registry(&host, "", "");
    registry.push(&host, "tools/box", "1", "sealed");
    let ran = host.compose("app", &file(), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says(ADDRESS)
        .says("is not trusted")
        .says("/etc/wharfie/certs.d/192.0.2.10:5443/ca.crt");
    // The node is not started again for it.
    trust(&host, "/etc/wharfie/certs.d");
    host.compose("app", &file(), "up -d").succeeds();
    assert_eq!(marker(&host), "sealed");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_authority_in_dockers_folder_counts_and_the_login_goes_through_tls() {
    let host = host();
    let registry = registry(&host, &only_anna(&host), "-u anna:secret");
    registry.push(&host, "tools/box", "1", "closed");
    trust(&host, "/etc/docker/certs.d");
    let ran = host.compose("app", &file(), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("login");
    log_in(&host, ADDRESS, "anna:wrong");
    let ran = host.compose("app", &file(), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("denied").never_says("wrong");
    log_in(&host, ADDRESS, "anna:secret");
    host.compose("app", &file(), "up -d").succeeds();
    assert_eq!(marker(&host), "closed");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn an_authority_of_the_system_counts() {
    let mut host = host();
    let registry = registry(&host, "", "");
    registry.push(&host, "tools/box", "1", "sealed");
    // As update-ca-certificates(8) would, which is not on every machine.
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let line = format!(
        "mkdir -p /etc/ssl/certs && cat {} >> {bundle}",
        host.path("ca.crt").display()
    );
    host.shell(&line).succeeds();
    host.kill_agent();
    host.start_agent();
    host.compose("app", &file(), "up -d").succeeds();
    assert_eq!(marker(&host), "sealed");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
    let host = host();
    let registry = registry(&host, "", "");
    registry.push(&host, "tools/box", "1", "sealed");
    let folder = format!("/etc/wharfie/certs.d/{ADDRESS}");
    host.shell(&format!(
        "mkdir -p {folder} && echo nonsense > {folder}/ca.crt"
    ))
    .succeeds();
    let ran = host.compose("app", &file(), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says(&format!("{folder}/ca.crt"));
    // Nor does a certificate for another name count.
    let other = host.path("other.crt");
    let line = format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout {0}.key -out {0} && cp {0} {folder}/ca.crt",
        other.display()
    );
    host.shell(&line).succeeds();
    host.compose("app", &file(), "up -d").says("is not trusted");
    assert!(fs::exists(other).unwrap());
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
