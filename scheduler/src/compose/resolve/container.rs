//! What a service's containers are made of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::limits::ulimits;
use super::{Resolver, device, duration, flag, health, size, text, text_map, texts};
use crate::compose::check::nearest;
use crate::compose::document::{Node, Value};
use crate::compose::lint::Rule;
use crate::compose::value;
use crate::model::container::{
    ContainerSpec, Hook, HostAddress, Protocol, PublishMode, PublishedPort, PullPolicy,
    SeccompProfile, Security,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Resolver<'_> {
    pub(super) fn container(&mut self, name: &str, node: &Node) -> ContainerSpec {
        ContainerSpec {
            image: self.image(name, node),
            platform: text(node, "platform"),
            pull_policy: self.pull_policy(node),
            pin: None,
            entrypoint: words(node, "entrypoint"),
            command: words(node, "command"),
            environment: environment(node),
            working_dir: text(node, "working_dir"),
            user: text(node, "user"),
            group_add: texts(node, "group_add"),
            hostname: text(node, "hostname"),
            domainname: text(node, "domainname"),
            labels: text_map(node, "labels"),
            annotations: text_map(node, "annotations"),
            tty: flag(node, "tty"),
            stdin_open: flag(node, "stdin_open"),
            stdin_once: false,
            init: flag(node, "init"),
            stop_signal: text(node, "stop_signal"),
            stop_grace: duration(node, "stop_grace_period"),
            network: self.network_mode(name, node),
            ports: self.ports(node),
            expose: expose(node),
            dns: self.dns(node),
            dns_search: texts(node, "dns_search"),
            dns_options: texts(node, "dns_opt"),
            extra_hosts: self.extra_hosts(node),
            mounts: self.mounts(node),
            volumes_from: self.volumes_from(node),
            secrets: self.grants(node, "secrets", "/run/secrets/"),
            configs: self.grants(node, "configs", "/"),
            read_only: flag(node, "read_only"),
            shm_size: size(node, "shm_size"),
            healthcheck: health::healthcheck(node),
            post_start: self.hooks(node, "post_start"),
            pre_stop: self.hooks(node, "pre_stop"),
            logging: self.logging(node),
            resources: self.resources(node),
            ulimits: ulimits(node),
            sysctls: text_map(node, "sysctls"),
            devices: device::devices(node),
            vendor_devices: self.vendor_devices(node),
            device_cgroup_rules: texts(node, "device_cgroup_rules"),
            cap_add: texts(node, "cap_add"),
            cap_drop: texts(node, "cap_drop"),
            privileged: flag(node, "privileged"),
            security: self.security(node),
            ipc: self.namespace(node, "ipc"),
            pid: self.namespace(node, "pid"),
            uts: self.namespace(node, "uts"),
            cgroup: self.namespace(node, "cgroup"),
            cgroup_parent: text(node, "cgroup_parent"),
            oom_score_adj: self.oom_score(node),
            oom_kill_disable: flag(node, "oom_kill_disable"),
        }
    }

    fn hooks(&self, service: &Node, key: &str) -> Vec<Hook> {
        let items = service.get(key).map(Node::items).unwrap_or_default();
        let hook = |it: &Node| Hook {
            command: texts(it, "command"),
            user: text(it, "user"),
            privileged: flag(it, "privileged"),
            working_dir: text(it, "working_dir"),
            environment: self.variables(it),
        };
        items.iter().map(hook).collect()
    }

    /// A name alone takes the project's value; without one the container's own stays.
    pub(super) fn variables(&self, node: &Node) -> BTreeMap<String, Option<String>> {
        let entries = node.get("environment").into_iter().flat_map(Node::entries);
        let found = entries.filter_map(|(name, entry)| {
            let own = entry.node.as_str().map(str::to_owned);
            let value = own.or_else(|| self.context.environment.get(name).cloned())?;
            Some((name.to_owned(), Some(value)))
        });
        found.collect()
    }

    /// A service that is built and names no image has one of its own.
    fn image(&self, name: &str, service: &Node) -> String {
        let built = || {
            service.get("build")?;
            Some(format!("{}-{name}", self.context.name))
        };
        text(service, "image").or_else(built).unwrap_or_default()
    }

    fn pull_policy(&mut self, service: &Node) -> PullPolicy {
        let Some(node) = service.get("pull_policy") else {
            return PullPolicy::Missing;
        };
        match node.as_str().unwrap_or_default() {
            "always" => PullPolicy::Always,
            "never" => PullPolicy::Never,
            "missing" | "if_not_present" => PullPolicy::Missing,
            "daily" => PullPolicy::Every(DAY),
            "weekly" => PullPolicy::Every(7 * DAY),
            other => {
                let interval = other.strip_prefix("every_").map(value::parse_duration);
                if let Some(Ok(interval)) = interval {
                    return PullPolicy::Every(interval);
                }
                let later = matches!(other, "build" | "refresh");
                let diagnostic = if later {
                    let title = format!("the pull policy `{other}` is not supported yet");
                    self.problems.unsupported(node.span, title)
                } else {
                    let title = format!("`pull_policy` cannot be `{other}`");
                    self.problems.error(node.span, title)
                };
                match nearest(other, ["always", "missing", "never"].into_iter()) {
                    Some(meant) if !later => diagnostic.suggest(meant),
                    _ => diagnostic.set_help(
                        "write `always`, `missing`, `never`, `daily`, `weekly` or `every_12h`",
                    ),
                };
                PullPolicy::Missing
            }
        }
    }

    fn ports(&mut self, service: &Node) -> Vec<PublishedPort> {
        let mut ports = Vec::new();
        // The host's own network has no use for them; a warning has said so.
        if service.get_str("network_mode") == Some("host") {
            return ports;
        }
        for item in service.get("ports").map(Node::items).unwrap_or_default() {
            let target = item.get_int("target").and_then(|it| u16::try_from(it).ok());
            let Some(target) = target else {
                // A target that is no number has been reported.
                if !self.problems.has_error_within(item.span) {
                    self.problems
                        .error(item.span, "a port needs a `target` from 1 to 65535");
                }
                continue;
            };
            ports.push(PublishedPort {
                host_ip: self.parsed::<IpAddr>(item.get("host_ip"), "an IP address"),
                published: self.published(item),
                target,
                protocol: match item.get_str("protocol") {
                    Some("udp") => Protocol::Udp,
                    _ => Protocol::Tcp,
                },
                mode: match item.get_str("mode") {
                    Some("host") => PublishMode::Host,
                    _ => PublishMode::Ingress,
                },
            });
        }
        ports
    }

    /// `8080` or `8000-8010`; nothing, `0` or the empty string is any free port.
    fn published(&mut self, item: &Node) -> Option<(u16, u16)> {
        let node = item.get("published")?;
        let text = node.as_str().filter(|it| !it.is_empty() && *it != "0")?;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first > 0 && first <= last => Some((first, last)),
            _ => {
                self.problems.error(
                    node.span,
                    format!("`{text}` is not a port or a range of ports"),
                );
                None
            }
        }
    }

    fn dns(&mut self, service: &Node) -> Vec<IpAddr> {
        let items = service.get("dns").map(Node::items).unwrap_or_default();
        items
            .iter()
            .filter_map(|it| self.parsed(Some(it), "an IP address"))
            .collect()
    }

    fn extra_hosts(&mut self, service: &Node) -> Vec<(String, HostAddress)> {
        let mut hosts = Vec::new();
        for item in service
            .get("extra_hosts")
            .map(Node::items)
            .unwrap_or_default()
        {
            let Some((host, address)) = item.as_str().and_then(|it| it.split_once('=')) else {
                continue;
            };
            if address == "host-gateway" {
                hosts.push((host.to_owned(), HostAddress::Gateway));
                continue;
            }
            match address.parse() {
                Ok(address) => hosts.push((host.to_owned(), HostAddress::Address(address))),
                Err(_) => {
                    let title = format!("`{address}` is not an IP address");
                    let help = "write an address, or `host-gateway` for the host";
                    self.problems.error(item.span, title).set_help(help);
                }
            }
        }
        hosts
    }

    fn security(&mut self, service: &Node) -> Security {
        let mut security = Security::default();
        for item in service
            .get("security_opt")
            .map(Node::items)
            .unwrap_or_default()
        {
            let text = item.as_str().unwrap_or_default();
            let (name, argument) = text.split_once(['=', ':']).unwrap_or((text, ""));
            match (name, argument) {
                ("no-new-privileges", "" | "true") => security.no_new_privileges = Some(true),
                ("no-new-privileges", "false") => security.no_new_privileges = Some(false),
                ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
                ("seccomp", path) if !path.is_empty() => {
                    let path = self.context.directory.join(path);
                    match self.context.files.read(&path).map(String::from_utf8) {
                        Ok(Ok(profile)) => security.seccomp = SeccompProfile::Custom(profile),
                        _ => {
                            let title =
                                format!("the seccomp profile {} cannot be read", path.display());
                            self.problems.error(item.span, title);
                        }
                    }
                }
                ("systempaths", "unconfined") => security.unconfined_system_paths = true,
                ("apparmor", "unconfined") => {}
                ("apparmor", profile) if !profile.is_empty() => {
                    security.apparmor = Some(profile.to_owned())
                }
                ("label", _) => {
                    self.problems.warn(
                        Rule::NoEffect,
                        item.span,
                        format!("`{text}` has no effect: SELinux is not supported"),
                    );
                }
                _ => {
                    let title = format!("`{text}` is not a security option");
                    let help = "there are `no-new-privileges`, `seccomp=…`, `apparmor=…` and `systempaths=unconfined`";
                    self.problems.unsupported(item.span, title).set_help(help);
                }
            }
        }
        security
    }

    fn oom_score(&mut self, service: &Node) -> Option<i32> {
        let node = service.get("oom_score_adj")?;
        match node.value {
            Value::Int(score @ -1000..=1000) => i32::try_from(score).ok(),
            _ => {
                self.problems
                    .error(node.span, "`oom_score_adj` must lie between -1000 and 1000");
                None
            }
        }
    }
}

fn words(node: &Node, key: &str) -> Option<Vec<String>> {
    node.get(key).map(|_| texts(node, key))
}

/// A name without a value is one that the container does not get.
fn environment(node: &Node) -> BTreeMap<String, Option<String>> {
    let entries = node.get("environment").into_iter().flat_map(Node::entries);
    entries
        .filter_map(|(name, entry)| Some((name.to_owned(), Some(entry.node.as_str()?.to_owned()))))
        .collect()
}

/// `80` is `80/tcp`.
fn expose(node: &Node) -> Vec<String> {
    let full = |it: String| {
        if it.contains('/') {
            it
        } else {
            format!("{it}/tcp")
        }
    };
    texts(node, "expose").into_iter().map(full).collect()
}
