//! What is open to more people than it seems: databases, the host, secrets.

use super::address::Url;
use super::{Linter, Rule, Service, known};
use crate::compose::document::{Node, Value};

/// Sockets through which the whole host can be had.
const SOCKETS: &[&str] = &[
    "docker.sock",
    "containerd.sock",
    "podman.sock",
    "crio.sock",
    "wharfie.sock",
];

/// How the names of variables end that hold secrets.
const SECRETS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "SECRET_KEY",
    "SECRET_KEY_BASE",
    "ACCESS_KEY",
    "PRIVATE_KEY",
];

impl Linter<'_> {
    pub(super) fn exposure(&mut self, service: &Service<'_>) {
        self.published_database(service);
        self.privileges(service);
        self.plain_secrets(service);
    }

    fn published_database(&mut self, service: &Service<'_>) {
        let image = service.image().and_then(Node::as_str).unwrap_or_default();
        let Some(database) = known::database(image) else {
            return;
        };
        let port = database.port;
        for item in service.items("ports") {
            let everywhere = matches!(item.get_str("host_ip"), None | Some("" | "0.0.0.0" | "::"));
            let published = item.get("published").is_some();
            if !everywhere || !published || item.get_int("target") != Some(i64::from(port)) {
                continue;
            }
            let title = format!(
                "database `{}` can be reached from every address of the host",
                service.name
            );
            let host = item.get_str("published").unwrap_or_default();
            let help = format!(
                "write `127.0.0.1:{host}:{port}` for this host only; services on the same network \
                 need no published port"
            );
            if let Some(it) = self.warn(service, Rule::PublishedDatabase, item.span, title) {
                it.set_help(help);
            }
        }
    }

    fn privileges(&mut self, service: &Service<'_>) {
        if let Some(node) = service.node.get("privileged")
            && node.value == Value::Bool(true)
        {
            let title = format!(
                "service `{}` is privileged: its processes are root on the host",
                service.name
            );
            if let Some(it) = self.warn(service, Rule::Privileged, node.span, title) {
                it.set_help("grant what it needs with `cap_add` and `devices`");
            }
        }
        for volume in service.items("volumes") {
            let Some(source) = volume.get("source") else {
                continue;
            };
            let path = source.as_str().unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            if volume.get_str("type") != Some("bind") || !SOCKETS.contains(&name) {
                continue;
            }
            let title = format!(
                "service `{}` is given {path}: whoever can talk to it is root on the host",
                service.name
            );
            if let Some(it) = self.warn(service, Rule::EngineSocket, source.span, title) {
                it.set_help(
                    "`:ro` does not help; put a proxy between that passes only what is needed",
                );
            }
        }
    }

    fn plain_secrets(&mut self, service: &Service<'_>) {
        for (name, value, span) in service.variables() {
            if self.problems.is_filled(span) {
                continue;
            }
            let title = if is_secret_name(name) && is_secret_value(value) {
                format!("`{name}` is a secret, and stands in the file for everybody to read")
            } else if Url::all(value).any(|it| it.password.is_some_and(is_secret_value)) {
                format!("the address in `{name}` has a password in it, for everybody to read")
            } else {
                continue;
            };
            let help = format!(
                "take it from the environment (`{name}: ${{{name}:?}}`), or use `secrets:` and, where \
                 the image knows it, `{name}_FILE`"
            );
            if let Some(it) = self.warn(service, Rule::PlainSecret, span, title) {
                it.set_help(help);
            }
        }
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRETS.iter().any(|secret| {
        name.strip_suffix(secret)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    })
}

/// Not a switch (`ALLOW_EMPTY_PASSWORD=yes`), not the path of a file.
fn is_secret_value(value: &str) -> bool {
    let switch = matches!(
        value.to_ascii_lowercase().as_str(),
        "" | "0" | "1" | "yes" | "no" | "true" | "false" | "on" | "off" | "none"
    );
    !switch && !value.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::is_secret_name;

    #[test]
    fn knows_a_secret_by_the_end_of_its_name() {
        for name in [
            "POSTGRES_PASSWORD",
            "token",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "PASSWORD_FILE",
            "TOKEN_TTL",
            "PASSWORD_MIN_LENGTH",
            "COMPASSWD",
            "KEY",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
