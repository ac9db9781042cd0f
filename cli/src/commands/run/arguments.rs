//! `-p` and `-v` of `run`, in the short forms of Compose files.

use std::net::IpAddr;
use std::path::Path;

use scheduler::model::container::{Mount, MountSource, Protocol, PublishMode, PublishedPort};
use scheduler::model::stack::Stack;

use crate::error::Failure;

/// Splits a command line the way a shell does, without a shell: spaces, quotes, backslashes.
pub(super) fn split(text: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().extend(characters.next());
            }
            (it, Some(open)) if it == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (it, None) if it.is_whitespace() => words.extend(word.take()),
            (it, _) => word.get_or_insert_default().push(it),
        }
    }
    if quote.is_some() {
        return Err(Failure::new(format!(
            "the quote in `{text}` is never closed"
        )));
    }
    words.extend(word);
    Ok(words)
}

/// `[IP:][HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`
pub(super) fn ports(text: &str) -> Result<Vec<PublishedPort>, Failure> {
    let failed = || {
        Failure::new(format!(
            "`{text}` is no port: use [IP:][HOST:]CONTAINER[/tcp|udp]"
        ))
    };
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, "tcp")) => (rest, Protocol::Tcp),
        Some((rest, "udp")) => (rest, Protocol::Udp),
        Some(_) => return Err(failed()),
        None => (text, Protocol::Tcp),
    };
    let (rest, target) = rest
        .rsplit_once(':')
        .map_or(("", rest), |(rest, target)| (rest, target));
    let (host_ip, published) = rest
        .rsplit_once(':')
        .map_or(("", rest), |(ip, host)| (ip, host));
    let host_ip = match host_ip.trim_start_matches('[').trim_end_matches(']') {
        "" => None,
        ip => Some(ip.parse::<IpAddr>().map_err(|_| failed())?),
    };
    let (first, last) = range(target).ok_or_else(failed)?;
    let published = match published {
        "" => None,
        text => Some(range(text).ok_or_else(failed)?),
    };
    let targets = last - first;
    let published_for = |offset: u16| match published {
        None => Ok(None),
        // One port of the container, and several of the host to choose from.
        Some(choice) if targets == 0 => Ok(Some(choice)),
        Some((low, high)) if high - low == targets => Ok(Some((low + offset, low + offset))),
        Some(_) => Err(failed()),
    };
    (0..=targets)
        .map(|offset| {
            Ok(PublishedPort {
                host_ip,
                published: published_for(offset)?,
                target: first + offset,
                protocol,
                mode: PublishMode::Ingress,
            })
        })
        .collect()
}

/// `80` or `8000-8010`, none of them zero.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// `SOURCE:TARGET[:ro]`; a source that begins with `.`, `/` or `~` is a path, any other a volume.
pub(super) fn mount(text: &str, stack: &Stack) -> Result<Mount, Failure> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => {
            return Err(Failure::new(format!(
                "`{text}` is no volume: use SOURCE:TARGET[:ro]"
            )));
        }
    };
    if !target.starts_with('/') {
        return Err(Failure::new(format!(
            "the target `{target}` of a volume must be an absolute path"
        )));
    }
    let mut read_only = false;
    for option in options.split(',').filter(|it| !it.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" => {}
            unknown => {
                return Err(Failure::new(format!(
                    "`{unknown}` is no option of a volume"
                )));
            }
        }
    }
    let source = match source {
        None => MountSource::Anonymous { no_copy: false },
        Some(path) if path.starts_with(['.', '/', '~']) => bind(path)?,
        Some(key) => MountSource::Volume {
            name: stack
                .volumes
                .get(key)
                .map_or_else(|| key.to_owned(), |it| it.name.clone()),
            no_copy: false,
            subpath: None,
        },
    };
    Ok(Mount {
        target: target.to_owned(),
        read_only,
        source,
    })
}

fn bind(path: &str) -> Result<MountSource, Failure> {
    let path = match (path.strip_prefix('~'), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}{rest}"),
        _ => path.to_owned(),
    };
    let path = std::path::absolute(Path::new(&path))?;
    Ok(MountSource::Bind {
        path: path.to_string_lossy().into_owned(),
        create: true,
        propagation: None,
        recursive: true,
        writable_below: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_split(text: &str, expected: &[&str]) {
        assert_eq!(split(text).ok().unwrap(), expected);
    }

    #[test]
    fn an_entrypoint_is_split_like_a_shell_does() {
        check_split("", &[]);
        check_split("sh -c 'echo  hi'", &["sh", "-c", "echo  hi"]);
        check_split(r#"a "b \" c" d\ e ''"#, &["a", "b \" c", "d e", ""]);
        assert!(split("sh -c 'x").is_err());
    }

    #[track_caller]
    fn check_ports(text: &str, expected: &str) {
        let shown = match ports(text) {
            Err(_) => "refused".to_owned(),
            Ok(ports) => {
                let show = |it: &PublishedPort| {
                    format!("{:?} {:?} {}", it.host_ip, it.published, it.target)
                };
                ports.iter().map(show).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn ports_are_read_in_every_short_form() {
        check_ports("80", "None None 80");
        check_ports("8080:80/tcp", "None Some((8080, 8080)) 80");
        check_ports("127.0.0.1:8080:80", "Some(127.0.0.1) Some((8080, 8080)) 80");
        check_ports("[::1]:8080:80", "Some(::1) Some((8080, 8080)) 80");
        check_ports(
            "8000-8001:80-81",
            "None Some((8000, 8000)) 80, None Some((8001, 8001)) 81",
        );
        check_ports("8000-8005:80", "None Some((8000, 8005)) 80");
        check_ports("8000-8005:80-81", "refused");
        check_ports("0", "refused");
        check_ports("web", "refused");
    }
}
