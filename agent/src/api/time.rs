//! Points in time as Docker writes and reads them.

use std::time::Duration;

use scheduler::model::time::Timestamp;

/// What Docker writes for a time that never was.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many digits as there are, in UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    if at == Timestamp::EPOCH {
        return NEVER.to_owned();
    }
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .map_or_else(|_| NEVER.to_owned(), |at| at.to_string())
}

/// RFC 3339 with nine digits always, as lines of logs begin.
pub(crate) fn rfc3339_nano(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos()))
        .map_or_else(|_| NEVER.to_owned(), |at| format!("{at:.9}"))
}

/// RFC 3339 without fractions, as volumes have it.
pub(crate) fn rfc3339_seconds(at: Timestamp) -> String {
    rfc3339(Timestamp::from_nanos(
        at.as_nanos() / 1_000_000_000 * 1_000_000_000,
    ))
}

/// RFC 3339, or [`NEVER`].
pub(crate) fn rfc3339_or_never(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), rfc3339)
}

/// Whole seconds since the epoch.
pub(crate) fn unix_seconds(at: Timestamp) -> u64 {
    at.as_nanos() / 1_000_000_000
}

/// Reads `since` and `until`: seconds with an optional fraction, RFC 3339, or a duration before now.
///
/// Returns `None` for what is none of these; zero is the beginning of time.
pub(crate) fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(at) = parse_seconds(text) {
        return Some(at);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(at.as_nanosecond())
            .ok()
            .map(Timestamp::from_nanos);
    }
    let ago = parse_go_duration(text)?;
    let nanos = u64::try_from(ago.as_nanos()).ok()?;
    Some(Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos)))
}

fn parse_seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = whole.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Timestamp::from_nanos(
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?,
    ))
}

/// Go's durations: `1h30m`, `10s`, `250ms`.
fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit_len = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match rest.get(..unit_len)? {
            "ns" => Duration::from_nanos(1),
            "us" | "µs" => Duration::from_micros(1),
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(u32::try_from(count).ok()?)?)?;
        rest = rest.get(unit_len..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// How long, in the words of `docker ps`: `About a minute`, `3 hours`.
///
/// Source: docker/go-units, `HumanDuration`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (duration.as_secs_f64() / 3600.0).round() as u64;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests;
