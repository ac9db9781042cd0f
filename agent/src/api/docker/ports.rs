//! Published ports, from and to `{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}`.

use std::collections::BTreeMap;

use scheduler::model::container::{Protocol, PublishMode, PublishedPort};
use scheduler::model::task::Task;
use serde_json::{Value, json};

use super::config::{HostConfig, PortBinding};
use crate::api::error::{EngineError, bad};

/// Reads the bindings of a create body; `image_ports` are published too when all are asked for.
pub(super) fn read(
    host: &HostConfig,
    image_ports: &[String],
) -> Result<Vec<PublishedPort>, EngineError> {
    let mut ports = Vec::new();
    for (text, bindings) in &host.port_bindings {
        let (target, protocol) = parse_target(text)?;
        for binding in bindings {
            let port = PublishedPort {
                host_ip: host_ip(binding)?,
                published: host_ports(&binding.host_port)?,
                target,
                protocol,
                mode: PublishMode::Host,
            };
            // `0.0.0.0` and `::` of one port come to the same.
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    let unbound = image_ports
        .iter()
        .filter(|port| !host.port_bindings.contains_key(*port));
    for port in unbound.filter(|_| host.publish_all_ports) {
        let (target, protocol) = parse_target(port)?;
        let mode = PublishMode::Host;
        ports.push(PublishedPort {
            host_ip: None,
            published: None,
            target,
            protocol,
            mode,
        });
    }
    Ok(ports)
}

/// `80`, `80/tcp`.
fn parse_target(text: &str) -> Result<(u16, Protocol), EngineError> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            return Err(bad(format!(
                "invalid port specification: protocol \"{other}\" is not supported"
            )));
        }
    };
    match port.parse() {
        Ok(port) if port > 0 => Ok((port, protocol)),
        _ => Err(bad(format!("invalid port specification: \"{text}\""))),
    }
}

fn host_ip(binding: &PortBinding) -> Result<Option<std::net::IpAddr>, EngineError> {
    match binding.host_ip.as_str() {
        // A client that repeats what inspect said gets what it had.
        "" | "0.0.0.0" | "::" => Ok(None),
        ip => ip
            .parse()
            .map(Some)
            .map_err(|_| bad(format!("invalid IP address: {ip}"))),
    }
}

fn host_ports(text: &str) -> Result<Option<(u16, u16)>, EngineError> {
    let invalid = || bad(format!("invalid hostPort: {text}"));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    match text.split_once('-') {
        _ if text.is_empty() || text == "0" => Ok(None),
        None => number(text).map(|port| Some((port, port))),
        Some((first, last)) => {
            let range = (number(first)?, number(last)?);
            if range.0 > range.1 {
                Err(invalid())
            } else {
                Ok(Some(range))
            }
        }
    }
}

fn key(port: &PublishedPort) -> String {
    format!("{}/{}", port.target, port.protocol.as_str())
}

/// What was asked for, for `HostConfig.PortBindings`.
pub(super) fn wanted(ports: &[PublishedPort]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut bindings: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        let host_port = match port.published {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let host_ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        bindings
            .entry(key(port))
            .or_default()
            .push(PortBinding { host_ip, host_port });
    }
    bindings
}

/// Host addresses and port of a binding: several of one target keep their own numbers.
fn bound(port: &PublishedPort, task: &Task) -> Vec<(String, u16)> {
    let number = match port.published {
        Some((first, last)) if first == last => Some(first),
        _ => task.status.ports.get(&key(port)).copied(),
    };
    let Some(number) = number else {
        return Vec::new();
    };
    let addresses = match port.host_ip {
        Some(ip) => vec![ip.to_string()],
        None => anywhere(task),
    };
    addresses.into_iter().map(|ip| (ip, number)).collect()
}

/// Every address of the host, of the kinds that the container has.
fn anywhere(task: &Task) -> Vec<String> {
    let places = || task.attachments.iter();
    let only_six = places().next().is_some() && places().all(|it| it.address.is_ipv6());
    let six = places().any(|it| it.ipv6_address().is_some());
    let four = (!only_six).then(|| "0.0.0.0".to_owned());
    let six = six.then(|| "::".to_owned());
    four.into_iter().chain(six).collect()
}

/// What is bound while it runs, for `NetworkSettings.Ports`; ports that are only exposed have `null`.
pub(super) fn bindings(ports: &[PublishedPort], exposed: &[String], task: &Task) -> Value {
    let mut map: BTreeMap<String, Option<Vec<Value>>> =
        exposed.iter().map(|port| (port.clone(), None)).collect();
    for port in ports {
        for (ip, number) in bound(port, task) {
            let list = map
                .entry(key(port))
                .or_default()
                .get_or_insert_with(Vec::new);
            list.push(json!({ "HostIp": ip, "HostPort": number.to_string() }));
        }
    }
    json!(map)
}

/// What `ps` shows.
pub(super) fn summary(ports: &[PublishedPort], exposed: &[String], task: &Task) -> Vec<Value> {
    let mut rows = Vec::new();
    for port in ports {
        for (ip, number) in bound(port, task) {
            rows.push(json!({
                "IP": ip,
                "PrivatePort": port.target,
                "PublicPort": number,
                "Type": port.protocol.as_str(),
            }));
        }
    }
    let published: Vec<_> = ports.iter().map(key).collect();
    for target in exposed.iter().filter(|target| !published.contains(target)) {
        if let Ok((port, protocol)) = parse_target(target) {
            rows.push(json!({ "PrivatePort": port, "Type": protocol.as_str() }));
        }
    }
    rows
}
