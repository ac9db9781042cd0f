//! A registry that believes only tokens, and the server that gives them out.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;

use super::{Registry, file, log_in, marker};
use crate::support::Host;

/// Makes a key, a certificate that the registry is to believe, and a token for these actions.
fn tokens(host: &Host) -> (String, String) {
    let token = |actions: &str| {
        let script = format!(
            r#"set -eu; cd {home}
part() {{ openssl base64 -A | tr '+/' '-_' | tr -d '='; }}
test -f token.crt || openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens -keyout token.key -out token.crt 2>/dev/null
now=$(date +%s)
head=$(printf '{{"typ":"JWT","alg":"RS256","x5c":["%s"]}}' "$(openssl x509 -in token.crt -outform der | openssl base64 -A)" | part)
body=$(printf '{{"iss":"tokens","sub":"","aud":"registry","exp":%s,"nbf":%s,"iat":%s,"jti":"1","access":[{{"type":"repository","name":"tools/box","actions":[{actions}]}}]}}' $((now + 3600)) $((now - 60)) $now | part)
printf %s.%s.%s $head $body "$(printf %s.%s $head $body | openssl dgst -sha256 -sign token.key -binary | part)""#,
            home = host.path("").display(),
        );
        host.shell(&script).succeeds().stdout
    };
    (token(r#""pull""#), token(r#""pull","push""#))
}

/// Answers each request with the token, if it comes from `anna`; tells what was asked for.
fn serve(listener: TcpListener, token: String) -> mpsc::Receiver<String> {
    let (said, asked) = mpsc::channel();
    // Ends with the test's process: nothing of the host is held by it but the socket.
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // base64 of `anna:secret`.
            let anna = headers
                .iter()
                .any(|line| line.ends_with("Basic YW5uYTpzZWNyZXQ="));
            let (status, body) = match anna {
                true => ("200 OK", format!(r#"{{"token":"{token}"}}"#)),
                false => ("401 Unauthorized", "{}".to_owned()),
            };
            let _ = said.send(request);
            let _ = write!(
                connection,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    asked
}

#[test]
fn a_token_is_asked_for_with_the_login_and_opens_the_registry() {
    let mut host = Host::bare();
    host.start_agent();
    let (pull, push) = tokens(&host);
    let auth = format!(
        "auth: {{token: {{realm: 'http://127.0.0.1:5001/token', service: registry, issuer: tokens, rootcertbundle: {}}}}}\n",
        host.path("token.crt").display()
    );
    let registry = Registry::on(&host, &auth, &format!("-H 'Authorization: Bearer {push}'"));
    registry.push(&host, "tools/box", "1", "by token");
    let asked = serve(host.tcp_listener("127.0.0.1:5001"), pull);
    let ran = host.compose("app", &file("1"), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("login");
    log_in(&host, "127.0.0.1:5000", "anna:secret");
    host.compose("app", &file("1"), "up -d").succeeds();
    assert_eq!(marker(&host), "by token");
    let wanted = asked.try_iter().last().unwrap();
    assert!(
        wanted.contains("service=registry")
            && wanted.contains("scope=repository%3Atools%2Fbox%3Apull"),
        "{wanted}"
    );
    assert!(fs::exists(host.path("token.key")).unwrap());
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}
