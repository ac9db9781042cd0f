//! Amounts as people write them: sizes, durations, permission bits.

use std::time::Duration;

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    #[error("`{0}` is not a size")]
    Size(String),
    #[error("`{0}` is not a duration")]
    Duration(String),
    #[error("`{0}` is not a file mode")]
    Mode(String),
}

impl ValueError {
    /// What to write instead.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Size(text) if text.contains(',') => {
                let text = text.replace(',', ".");
                format!("write the fraction with a dot: `{text}`")
            }
            Self::Size(_) => "write for example `64m` or `1.5g`".to_owned(),
            Self::Duration(text) if text.parse::<f64>().is_ok() => {
                format!("a duration has a unit: `{text}s` is that many seconds")
            }
            Self::Duration(_) => "write for example `30s` or `1m30s`".to_owned(),
            Self::Mode(_) => "write for example `0440`".to_owned(),
        }
    }
}

/// Parses a size such as `64m` or `1.5gb` into bytes. Units are powers of 1024; no unit is bytes.
/// `-1` is kept: some sizes use it for "unlimited".
pub(super) fn parse_size(text: &str) -> Result<i64, ValueError> {
    let error = || ValueError::Size(text.to_owned());
    let lower = text.trim().to_ascii_lowercase();
    if lower == "-1" {
        return Ok(-1);
    }
    let digits = lower
        .find(|it: char| !(it.is_ascii_digit() || it == '.'))
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let exponent = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(error()),
    };
    let factor = 1024_i64.pow(exponent);
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(factor).ok_or_else(error);
    }
    let value = number.parse::<f64>().map_err(|_| error())? * factor as f64;
    // 2^63 as a float: beyond it the cast would saturate.
    if !(0.0..9_223_372_036_854_775_808.0).contains(&value) {
        return Err(error());
    }
    Ok(value as i64)
}

/// Parses a duration such as `1m30s`, with units from `ns` to `w`. `0` needs no unit.
///
/// Source: Compose specification, "Specifying durations"; days and weeks as in Docker Compose.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let error = || ValueError::Duration(text.to_owned());
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(error());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|it: char| !(it.is_ascii_digit() || it == '.'))
            .ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(rest.len());
        let nanos = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            _ => return Err(error()),
        };
        total += number * nanos;
        rest = &rest[letters..];
    }
    // Go counts nanoseconds in 63 bits: 292 years.
    if total > 9.2e18 {
        return Err(error());
    }
    Ok(Duration::from_nanos(total.round() as u64))
}

/// Writes a duration as Go does: `1m30s`, `1h0m0s`, `1.5s`, `200ms`.
pub(super) fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000_000_000 {
        let (unit, name) = match nanos {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{}{name}", decimal(nanos, unit));
    }
    let minutes = nanos / 60_000_000_000;
    let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` without trailing zeros.
fn decimal(value: u128, unit: u128) -> String {
    let whole = value / unit;
    let fraction = value % unit;
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!(
        "{whole}.{}",
        format!("{fraction:0width$}").trim_end_matches('0')
    )
}

/// Parses permission bits given as text, always octal: `0440`, `440` or `0o440`.
pub(super) fn parse_mode(text: &str) -> Result<u32, ValueError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err(ValueError::Mode(text.to_owned())),
    }
}

/// Parses a whole number as YAML writes it: decimal, `0x`, `0o`, and `0644` for octal.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|it: char| it.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let value = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => i64::from_str_radix(&digits[2..], 16),
        [b'0', b'o' | b'O', ..] => i64::from_str_radix(&digits[2..], 8),
        [b'0', b'b' | b'B', ..] => i64::from_str_radix(&digits[2..], 2),
        [b'0', b'0'..=b'7', ..] => i64::from_str_radix(&digits, 8),
        _ => digits.parse(),
    };
    value.ok().map(|it| it * sign)
}

/// Parses a truth value with all the words of YAML 1.1.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|it| it.eq_ignore_ascii_case(text));
    match () {
        () if is_one_of(["true", "yes", "on", "y"]) => Some(true),
        () if is_one_of(["false", "no", "off", "n"]) => Some(false),
        () => None,
    }
}
