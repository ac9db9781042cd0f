//! The keys that end a conversation without ending the process.
//!
//!     keys ─► Watcher ─► what goes to the process, until all of the sequence was typed
//!
//! Source: docker/cli, "Override the detach sequence"; moby/term `escape_proxy.go`.

use std::str::FromStr;

use thiserror::Error;

/// A sequence of keys such as `ctrl-p,ctrl-q`; an empty one is never typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no key: use a single character, or ctrl- with one of a-z @ [ \\ ] ^ _")]
pub(crate) struct DetachKeysError(String);

impl DetachKeys {
    /// `ctrl-p,ctrl-q`, as in Docker.
    pub(crate) fn usual() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = DetachKeysError;

    fn from_str(text: &str) -> Result<Self, DetachKeysError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let keys = text.split(',').map(key);
        keys.collect::<Result<_, _>>().map(Self)
    }
}

fn key(text: &str) -> Result<u8, DetachKeysError> {
    let control = text.strip_prefix("ctrl-").unwrap_or_default();
    match (text.as_bytes(), control.as_bytes()) {
        (&[key], _) => Ok(key),
        // A control key is the character without its upper bits: ctrl-a is 1, ctrl-@ is 0.
        (_, &[key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(key & 0x1f),
        _ => Err(DetachKeysError(text.to_owned())),
    }
}

/// Holds back what may be the beginning of the sequence.
pub(super) struct Watcher {
    keys: Vec<u8>,
    matched: usize,
}

/// What is to be done with the bytes that were typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Send(Vec<u8>),
    /// These first, and then no more.
    Detach(Vec<u8>),
}

impl Watcher {
    pub(super) fn new(keys: DetachKeys) -> Self {
        Self {
            keys: keys.0,
            matched: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Typed {
        let mut send = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return Typed::Detach(send);
                }
                continue;
            }
            let held = self.keys.get(..self.matched).unwrap_or_default();
            send.extend_from_slice(held);
            // The byte that broke the sequence may begin a new one.
            self.matched = usize::from(self.keys.first() == Some(&byte));
            if self.matched == 0 {
                send.push(byte);
            }
        }
        Typed::Send(send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives, and `#` where it ends.
    #[track_caller]
    fn check(keys: &str, typed: &[&str], expected: &str) {
        let mut watcher = Watcher::new(keys.parse().unwrap());
        let mut arrived = String::new();
        for piece in typed {
            match watcher.push(piece.as_bytes()) {
                Typed::Send(bytes) => arrived.push_str(std::str::from_utf8(&bytes).unwrap()),
                Typed::Detach(bytes) => {
                    arrived.push_str(std::str::from_utf8(&bytes).unwrap());
                    arrived.push('#');
                    break;
                }
            }
        }
        assert_eq!(arrived, expected);
    }

    #[test]
    fn the_whole_sequence_ends_it_however_it_is_cut() {
        check("x,y", &["axy"], "a#");
        check("x,y", &["ax", "yb"], "a#");
        check("ctrl-p,ctrl-q", &["l\x10\x11s"], "l#");
        check("x", &["abxc"], "ab#");
    }

    #[test]
    fn a_part_of_it_is_typing_like_any_other() {
        check("x,y", &["x", "a"], "xa");
        check("x,y", &["xxy"], "x#");
        check("x,y", &["yx"], "y");
        check("", &["anything"], "anything");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let wrong = |text: &str| text.parse::<DetachKeys>().unwrap_err();
        assert_eq!(wrong("ctrl-pp"), DetachKeysError("ctrl-pp".to_owned()));
        assert_eq!(wrong("a,,b"), DetachKeysError(String::new()));
        assert_eq!("ctrl-@,ctrl-_,q".parse(), Ok(DetachKeys(vec![0, 31, b'q'])));
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::usual()));
    }
}
