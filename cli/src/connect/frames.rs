//! Docker's frames: standard output and standard error of a process on one connection.
//!
//!     1 = stdout │ 2 = stderr │ 3 = system error    0 0 0    length (be32)    payload

use hyper::body::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

/// How the output of a process is written on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A process with a terminal has one channel only, and no frames.
    Raw,
    Framed,
}

/// Puts frames together from bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: Vec<u8>,
    current: Option<(Channel, usize)>,
}

const HEADER_LEN: usize = 8;

impl Frames {
    /// Takes the next bytes and returns what they complete. A frame's payload is handed on as it
    /// comes, in several parts if need be.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<(Channel, Bytes)> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            match self.current {
                Some((channel, missing)) => {
                    let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                    parts.push((channel, Bytes::copy_from_slice(part)));
                    let missing = missing - part.len();
                    self.current = (missing > 0).then_some((channel, missing));
                    bytes = rest;
                }
                None => {
                    let (part, rest) =
                        bytes.split_at((HEADER_LEN - self.header.len()).min(bytes.len()));
                    self.header.extend_from_slice(part);
                    bytes = rest;
                    self.take_header();
                }
            }
        }
        parts
    }

    fn take_header(&mut self) {
        let &[channel, _, _, _, a, b, c, d] = self.header.as_slice() else {
            return;
        };
        self.header.clear();
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let channel = if channel == 1 {
            Channel::Stdout
        } else {
            Channel::Stderr
        };
        self.current = (length > 0).then_some((channel, length));
    }
}
