//! Content addresses: `sha256:` and 64 lower-case hex digits, nothing else.
//!
//! One spelling for one content: upper case, short forms and other algorithms are refused, so that
//! two strings that differ never mean the same bytes, and no digest can be a path.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The SHA-256 of some content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    #[error("digest `{text}` has no algorithm, it should start with `sha256:`")]
    NoAlgorithm { text: String },
    #[error("digest algorithm `{algorithm}` is not supported, only sha256 is")]
    Algorithm { algorithm: String },
    #[error("digest `{text}` should have 64 lower-case hex digits after `sha256:`")]
    Hex { text: String },
}

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// 64 hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first 12 hex digits, as Docker shows ids.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }

    /// 26 characters of lower-case base 32: 128 bits, for the name of a layer's directory.
    ///
    /// 127 such names and their separators fit into the 4,096 bytes of overlayfs' options.
    pub(crate) fn directory_name(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut name = String::with_capacity(26);
        let (mut bits, mut held) = (0_u32, 0_u32);
        for byte in &self.0[..17] {
            bits = (bits << 8) | u32::from(*byte);
            held += 8;
            while held >= 5 && name.len() < 26 {
                held -= 5;
                name.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
            }
        }
        name
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((algorithm, digits)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm {
                text: text.to_owned(),
            });
        };
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm {
                algorithm: algorithm.to_owned(),
            });
        }
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let mut bytes = [0; 32];
        if !digits.bytes().all(is_hex) || hex::decode_to_slice(digits, &mut bytes).is_err() {
            return Err(DigestError::Hex {
                text: text.to_owned(),
            });
        }
        Ok(Self(bytes))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

/// Hashes and counts what is read or written through it.
pub(crate) struct Hashing<T> {
    inner: T,
    hash: Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            length: 0,
        }
    }

    /// Bytes that went through so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn finish(self) -> (Digest, u64, T) {
        (Digest(self.hash.finalize().into()), self.length, self.inner)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<T: io::Read> io::Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count(&buffer[..read]);
        Ok(read)
    }
}

impl<T: io::Write> io::Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.count(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let outcome = text
            .parse::<Digest>()
            .map(|d| d.short())
            .map_err(|e| e.to_string());
        assert_eq!(outcome.unwrap_or_else(|e| e), expected);
    }

    #[test]
    fn a_digest_has_exactly_one_spelling() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        check(&format!("sha256:{hex}"), "9f86d081884c");
        check(
            hex,
            &format!("digest `{hex}` has no algorithm, it should start with `sha256:`"),
        );
        check(
            &format!("sha512:{hex}"),
            "digest algorithm `sha512` is not supported, only sha256 is",
        );
        for wrong in [
            hex.to_uppercase(),
            hex[1..].to_owned(),
            format!("{hex}00"),
            "../../etc/passwd".into(),
            String::new(),
        ] {
            let text = format!("sha256:{wrong}");
            check(
                &text,
                &format!("digest `{text}` should have 64 lower-case hex digits after `sha256:`"),
            );
        }
        assert_eq!(Digest::of(b"test").to_string(), format!("sha256:{hex}"));
    }

    #[test]
    fn directory_names_fit_127_times_into_the_options_of_a_mount() {
        let (a, b) = (
            Digest::of(b"a").directory_name(),
            Digest::of(b"b").directory_name(),
        );
        assert_eq!(a.len(), 26);
        assert_ne!(a, b);
        assert!(
            a.bytes()
                .all(|c| c.is_ascii_lowercase() || (b'2'..=b'7').contains(&c))
        );
        assert!(127 * (a.len() + 1) < 3_500);
    }
}
