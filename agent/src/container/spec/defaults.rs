//! What holds where the spec says nothing: the image's word, and then Docker's default.

use std::time::Duration;

use scheduler::model::container::{ContainerSpec, HealthTest, Healthcheck};

use super::{ImageDefaults, SpecError};
use crate::container::health::HealthCheck;

/// The user to look up in the image's account files; empty is root.
pub fn wanted_user<'a>(image: &'a ImageDefaults, container: &'a ContainerSpec) -> &'a str {
    match container.user.as_deref() {
        Some(user) if !user.is_empty() => user,
        _ => &image.user,
    }
}

/// The health check that holds: each field is the spec's, else the image's, else Docker's default.
/// `None` when there is no test, or it was disabled.
pub fn effective_healthcheck(
    image: &ImageDefaults,
    container: &ContainerSpec,
) -> Option<HealthCheck> {
    let (ours, theirs) = (container.healthcheck.as_ref(), image.healthcheck.as_ref());
    let test = ours.and_then(|check| check.test.as_ref());
    let args = match test.or_else(|| theirs.and_then(|check| check.test.as_ref()))? {
        HealthTest::Disabled => return None,
        HealthTest::Command(args) => args.clone(),
        HealthTest::Shell(line) => in_shell(&image.shell, line),
    };
    if args.first().is_none_or(String::is_empty) {
        return None;
    }
    // Zero is Docker's way to leave a time out.
    let time = |field: fn(&Healthcheck) -> Option<Duration>, default| {
        let given = |check: Option<&Healthcheck>| check.and_then(field).filter(|t| !t.is_zero());
        given(ours)
            .or_else(|| given(theirs))
            .unwrap_or(Duration::from_secs(default))
    };
    let retries = |check: Option<&Healthcheck>| check.and_then(|c| c.retries).filter(|n| *n > 0);
    Some(HealthCheck {
        args,
        interval: time(|check| check.interval, 30),
        timeout: time(|check| check.timeout, 30),
        retries: retries(ours).or_else(|| retries(theirs)).unwrap_or(3),
        start_period: time(|check| check.start_period, 0),
        start_interval: time(|check| check.start_interval, 5),
    })
}

fn in_shell(shell: &[String], line: &str) -> Vec<String> {
    let mut args = match shell {
        [] => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        shell => shell.to_vec(),
    };
    args.push(line.to_owned());
    args
}

/// The number of the signal that asks the container to stop: the spec's, the image's, or SIGTERM.
pub fn stop_signal(image: &ImageDefaults, container: &ContainerSpec) -> Result<i32, SpecError> {
    let given = container
        .stop_signal
        .as_deref()
        .filter(|text| !text.is_empty());
    match given.or(image.stop_signal.as_deref().filter(|text| !text.is_empty())) {
        Some(text) => parse_signal(text),
        None => Ok(libc::SIGTERM),
    }
}

/// How long a container may take to stop before it is killed; ten seconds by default.
pub fn stop_grace(container: &ContainerSpec) -> Duration {
    container.stop_grace.unwrap_or(Duration::from_secs(10))
}

/// Signals in the order of their numbers from 1. Source: signal(7), x86 and ARM.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Parses `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`.
///
/// # Errors
///
/// Returns [`SpecError::Signal`] for a name that is none, and a number that is not 1 to 64.
pub fn parse_signal(text: &str) -> Result<i32, SpecError> {
    let bad = || SpecError::Signal {
        text: text.to_owned(),
    };
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Some(at) = SIGNALS.iter().position(|known| *known == name) {
        at as i32 + 1
    } else if let Some(offset) = name.strip_prefix("RTMIN") {
        34 + offset_of(offset, '+').ok_or_else(bad)?
    } else if let Some(offset) = name.strip_prefix("RTMAX") {
        64 - offset_of(offset, '-').ok_or_else(bad)?
    } else {
        match name {
            "IOT" => libc::SIGABRT,
            "POLL" => libc::SIGIO,
            "CLD" => libc::SIGCHLD,
            _ => text.trim().parse().map_err(|_| bad())?,
        }
    };
    if (1..=64).contains(&number) {
        Ok(number)
    } else {
        Err(bad())
    }
}

/// Reads `+3` (or, with `-` as the sign, `-3`); nothing is zero.
fn offset_of(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?
        .parse()
        .ok()
        .filter(|offset| (0..=30).contains(offset))
}
