//! What containers say: reading it, merging it by time, and printing it under their names.
//!
//! Lines are always fetched with their timestamps: they order the lines of several containers, and
//! a stream that was cut goes on exactly where it ended.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::connect::{ApiError, ByteLines, Channel, Client, Frames, Framing, escape, url};
use crate::output::{self, Colour};

mod attach;

pub(crate) use attach::{Attachments, Message};

/// A line of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) channel: Channel,
    /// Without its line end.
    pub(crate) text: Vec<u8>,
}

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// Only so many at the end.
    pub(crate) tail: Option<u64>,
    pub(crate) follow: Follow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Follow {
    /// What is there.
    #[default]
    No,
    /// And what comes, until the container ends.
    Yes,
}

/// The lines of one container.
pub(crate) struct Reader {
    body: Incoming,
    /// `None` for a terminal, which has no frames.
    frames: Option<Frames>,
    stdout: ByteLines,
    stderr: ByteLines,
    ready: std::collections::VecDeque<Line>,
    newest: Timestamp,
}

impl Reader {
    /// Opens the log of a container.
    pub(crate) async fn open(
        client: &Client,
        container: &str,
        query: &Query,
    ) -> Result<Self, ApiError> {
        let path = format!("/containers/{}", escape(container));
        let tail = query
            .tail
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let mut parameters = vec![
            ("stdout", "1"),
            ("stderr", "1"),
            ("timestamps", "1"),
            ("tail", tail.as_str()),
        ];
        let since = query.since.map(unix);
        let until = query.until.map(unix);
        parameters.extend(since.iter().map(|it| ("since", it.as_str())));
        parameters.extend(until.iter().map(|it| ("until", it.as_str())));
        if query.follow == Follow::Yes {
            parameters.push(("follow", "1"));
        }
        let (body, framing) = client
            .output(&url(&format!("{path}/logs"), &parameters))
            .await?;
        Ok(Self {
            body,
            frames: (framing == Framing::Framed).then(Frames::default),
            stdout: ByteLines::default(),
            stderr: ByteLines::default(),
            ready: std::collections::VecDeque::new(),
            newest: query.since.unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, ApiError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.take(bytes);
                    }
                }
                None => {
                    let rest = [self.stdout.finish(), self.stderr.finish()];
                    for (channel, text) in [Channel::Stdout, Channel::Stderr].into_iter().zip(rest)
                    {
                        self.ready
                            .extend(text.map(|text| line(channel, text, self.newest)));
                    }
                    return Ok(self.ready.pop_front());
                }
            }
        }
    }

    /// Everything until the end.
    pub(crate) async fn all(mut self) -> Result<Vec<Line>, ApiError> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn take(&mut self, bytes: &[u8]) {
        let parts = match &mut self.frames {
            Some(frames) => frames.push(bytes),
            None => vec![(Channel::Stdout, hyper::body::Bytes::copy_from_slice(bytes))],
        };
        for (channel, part) in parts {
            let lines = match channel {
                Channel::Stdout => self.stdout.push(&part),
                Channel::Stderr => self.stderr.push(&part),
            };
            for text in lines {
                let line = line(channel, text, self.newest);
                self.newest = self.newest.max(line.at);
                self.ready.push_back(line);
            }
        }
    }
}

/// Splits the timestamp off; a line without one counts as said together with the one before.
fn line(channel: Channel, text: Vec<u8>, newest: Timestamp) -> Line {
    let stamped = text.iter().position(|&byte| byte == b' ').and_then(|end| {
        let (stamp, rest) = text.split_at(end);
        let at: Timestamp = std::str::from_utf8(stamp).ok()?.parse().ok()?;
        Some(Line {
            at,
            channel,
            text: rest.get(1..).unwrap_or_default().to_vec(),
        })
    });
    stamped.unwrap_or(Line {
        at: newest,
        channel,
        text,
    })
}

/// Seconds with nanoseconds, as Docker takes times.
fn unix(at: Timestamp) -> String {
    format!("{}.{:09}", at.as_second(), at.subsec_nanosecond())
}

/// Text that is no point in time.
#[derive(Debug, Error)]
#[error("`{0}` is neither a time (2026-01-02T13:23:37Z, 1767360217) nor a duration (42m, 1h30m)")]
pub(crate) struct TimeError(String);

/// Reads `--since` and `--until`: a date, seconds since the epoch, or how long ago.
pub(crate) fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let failed = || TimeError(text.to_owned());
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(date) = text.parse::<jiff::civil::DateTime>() {
        let zoned = date.to_zoned(jiff::tz::TimeZone::system());
        return zoned.map(|it| it.timestamp()).map_err(|_| failed());
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let since_epoch = SignedDuration::try_from_secs_f64(seconds).map_err(|_| failed())?;
        return Timestamp::from_duration(since_epoch).map_err(|_| failed());
    }
    let ago: SignedDuration = text.parse().map_err(|_| failed())?;
    now.checked_sub(ago).map_err(|_| failed())
}

/// Merges the lines of several containers by time. Each container's own order is kept.
pub(crate) fn merge(logs: Vec<(String, Vec<Line>)>) -> Vec<(String, Line)> {
    let mut merged: Vec<(String, Line)> = logs
        .into_iter()
        .flat_map(|(name, lines)| lines.into_iter().map(move |line| (name.clone(), line)))
        .collect();
    merged.sort_by_key(|(_, line)| line.at);
    merged
}

/// How lines are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: Colour,
    pub(crate) prefix: Prefix,
    pub(crate) timestamps: Timestamps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    Shown,
    Hidden,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timestamps {
    Shown,
    Hidden,
}

/// Prints lines under the names of their containers: `web-1  | text`.
pub(crate) struct Printer {
    style: Style,
    width: usize,
    colours: BTreeMap<String, &'static str>,
}

/// Compose's order: cyan, yellow, green, magenta, blue, and their bright sisters.
const PALETTE: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

impl Printer {
    pub(crate) fn new(style: Style) -> Self {
        Self {
            style,
            width: 0,
            colours: BTreeMap::new(),
        }
    }

    /// Makes room for a name and gives it its colour.
    pub(crate) fn expect(&mut self, name: &str) {
        self.width = self.width.max(name.chars().count());
        let next = PALETTE
            .get(self.colours.len() % PALETTE.len())
            .copied()
            .unwrap_or("0");
        self.colours.entry(name.to_owned()).or_insert(next);
    }

    pub(crate) fn print(&mut self, name: &str, line: &Line) {
        let bytes = self.render(name, line);
        match line.channel {
            Channel::Stdout => output::raw_stdout(&bytes),
            Channel::Stderr => output::raw_stderr(&bytes),
        }
    }

    fn render(&mut self, name: &str, line: &Line) -> Vec<u8> {
        self.expect(name);
        let mut bytes = Vec::with_capacity(line.text.len() + 32);
        if self.style.prefix == Prefix::Shown {
            let colour = self.colours.get(name).copied().unwrap_or("0");
            let width = self.width + 1;
            let prefix = format!("{name:<width$} | ");
            bytes.extend_from_slice(self.style.colour.paint(colour, &prefix).as_bytes());
        }
        if self.style.timestamps == Timestamps::Shown {
            bytes.extend_from_slice(format!("{:.9} ", line.at).as_bytes());
        }
        bytes.extend_from_slice(&line.text);
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
mod tests;
