//! Published ports as Docker shows them: `0.0.0.0:8080-8081->80-81/tcp, 443/tcp`.

use crate::docker::Port;

/// Ports that follow one another on both sides are shown as one range.
pub(super) fn show(ports: &[Port]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort_by(|a, b| {
        let key = |it: &Port| {
            (
                it.protocol.clone(),
                it.ip.clone(),
                it.private_port,
                it.public_port,
            )
        };
        key(a).cmp(&key(b))
    });
    let mut ranges: Vec<(Port, u16)> = Vec::new();
    for port in sorted {
        match ranges.last_mut() {
            Some((first, length)) if follows(first, *length, &port) => *length += 1,
            _ => ranges.push((port, 1)),
        }
    }
    let shown: Vec<_> = ranges
        .iter()
        .map(|(first, length)| range(first, *length))
        .collect();
    shown.join(", ")
}

fn follows(first: &Port, length: u16, next: &Port) -> bool {
    let public = match first.public_port {
        0 => 0,
        port => port.saturating_add(length),
    };
    (&first.ip, &first.protocol) == (&next.ip, &next.protocol)
        && first.private_port.saturating_add(length) == next.private_port
        && public == next.public_port
}

fn range(first: &Port, length: u16) -> String {
    let span = |port: u16| match length {
        1 => port.to_string(),
        length => format!("{port}-{}", port.saturating_add(length - 1)),
    };
    let private = format!("{}/{}", span(first.private_port), first.protocol);
    if first.public_port == 0 {
        return private;
    }
    let ip = match first.ip.contains(':') {
        true => format!("[{}]", first.ip),
        false => first.ip.clone(),
    };
    format!("{ip}:{}->{private}", span(first.public_port))
}
