//! What is pasted on a new host: `WHFTKN-1-<digest of the authority>-<secret>`.
//!
//! The digest pins the cluster: the newcomer shows its secret to nobody whose certificate was not
//! signed by that authority. The secret says as what it may come in. Both are base 36, as Swarm's.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use scheduler::model::cluster::Secret;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::IdentityError;

const PREFIX: &str = "WHFTKN";
const VERSION: &str = "1";
/// 36^50 is more than 2^256.
const DIGEST_DIGITS: usize = 50;
/// 36^25 is more than 2^128.
pub(super) const SECRET_DIGITS: usize = 25;

/// A token, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Base 36 of the SHA-256 of the authority's certificate.
    pub digest: String,
    pub secret: Secret,
}

/// Why some text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("a join token begins with `{PREFIX}-`")]
    Prefix,
    #[error("this is a token of Docker Swarm, and this is wharfie")]
    Swarm,
    #[error("the join token is of version {0}, and this program knows version {VERSION}")]
    Version(u32),
    #[error("the join token is not complete: was all of it copied?")]
    Incomplete,
}

impl JoinToken {
    /// The token of a cluster with this authority's certificate (PEM).
    ///
    /// # Errors
    ///
    /// Returns [`IdentityError::Certificate`] when that is no certificate.
    pub fn new(authority: &str, secret: Secret) -> Result<Self, IdentityError> {
        let der = CertificateDer::from_pem_slice(authority.as_bytes());
        let der = der.map_err(|_| IdentityError::Certificate {
            what: "it is no PEM",
        })?;
        Ok(Self {
            digest: digest_of(&der),
            secret,
        })
    }
}

/// What a token pins: base 36 of the SHA-256 of the authority's certificate.
pub fn digest_of(authority: &CertificateDer<'_>) -> String {
    base36(&Sha256::digest(authority), DIGEST_DIGITS)
}

/// The same of a PEM; empty when it is none.
pub fn digest_of_pem(authority: &str) -> String {
    let der = CertificateDer::from_pem_slice(authority.as_bytes());
    der.map(|der| digest_of(&der)).unwrap_or_default()
}

/// Shows the secret: for the person who asked for it.
impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digest, secret) = (&self.digest, self.secret.reveal());
        write!(f, "{PREFIX}-{VERSION}-{digest}-{secret}")
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        match parts.as_slice() {
            ["SWMTKN", ..] => Err(TokenError::Swarm),
            [PREFIX, VERSION, digest, secret] => {
                let digits = |text: &str, count: usize| {
                    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                    text.len() == count && text.bytes().all(known)
                };
                if !digits(digest, DIGEST_DIGITS) || !digits(secret, SECRET_DIGITS) {
                    return Err(TokenError::Incomplete);
                }
                Ok(Self {
                    digest: (*digest).to_owned(),
                    secret: Secret::new(*secret),
                })
            }
            [PREFIX, version, ..] if *version != VERSION => {
                Err(version.parse().map_or(TokenError::Incomplete, |version| {
                    TokenError::Version(version)
                }))
            }
            [PREFIX, ..] => Err(TokenError::Incomplete),
            _ => Err(TokenError::Prefix),
        }
    }
}

/// The number that these bytes are, big end first, in exactly so many digits of base 36.
pub(super) fn base36(bytes: &[u8], digits: usize) -> String {
    let mut number = bytes.to_vec();
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in &mut number {
            let part = rest * 256 + u32::from(*byte);
            // Less than 256, as `rest` is less than 36.
            *byte = u8::try_from(part / 36).unwrap_or(u8::MAX);
            rest = part % 36;
        }
        let value = u8::try_from(rest).unwrap_or(0);
        *digit = match value {
            0..=9 => b'0' + value,
            _ => b'a' + (value - 10),
        };
    }
    text.into_iter().map(char::from).collect()
}
