//! Sizes and durations in Docker's words.
//!
//! Source: github.com/docker/go-units `HumanDuration`, `CustomSize`.

use std::time::Duration;

/// `Less than a second`, `5 seconds`, `About a minute`, `2 weeks`.
pub(crate) fn duration(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded, everything above counts on from them.
    let hours = (seconds + 1800) / 3600;
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

/// `7.83MB`: thousands, three digits that count.
pub(crate) fn decimal_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    size(bytes, 1000.0, UNITS, 3)
}

/// `7.832MiB`: powers of 1024, four digits that count.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    size(bytes, 1024.0, UNITS, 4)
}

fn size(bytes: u64, base: f64, units: [&str; 7], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let whole = match value {
        value if value < 10.0 => 1,
        value if value < 100.0 => 2,
        value if value < 1000.0 => 3,
        _ => 4,
    };
    let decimals = digits.saturating_sub(whole);
    let digits = format!("{value:.decimals$}");
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => &digits,
    };
    format!("{digits}{}", units.get(unit).copied().unwrap_or_default())
}
