//! Platforms, and which of several images is best for one: `os/architecture[/variant]`.
//!
//! Pure, but for [`Platform::host`], which is what this program was built for.
//!
//! Source: github.com/containerd/platforms, `database.go`, `compare.go`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An operating system and a processor, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("platform `{text}` should be os/architecture or os/architecture/variant, e.g. linux/arm64")]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Brings the common spellings (`x86_64`, `aarch64`, `armhf`, …) to one.
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" | "amd64" => ("amd64", None),
            "aarch64" | "arm64" => ("arm64", Some("v8")),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "arm" => ("arm", Some("v7")),
            "i386" | "x86" | "386" => ("386", None),
            "powerpc64le" => ("ppc64le", None),
            other => (other, None),
        };
        let variant = variant.filter(|v| !v.is_empty()).or(implied);
        // `v1` of amd64 is amd64.
        let variant = variant.filter(|v| !(architecture == "amd64" && *v == "v1"));
        let variant = variant.map(|v| match v.bytes().all(|b| b.is_ascii_digit()) {
            true => format!("v{v}"),
            false => v.to_owned(),
        });
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
        }
    }

    /// How well an image for `offered` runs here: higher is better, `None` is not at all.
    ///
    /// A processor runs what was built for an older variant of it.
    pub(crate) fn suitability(&self, offered: &Self) -> Option<u32> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let (own, its) = (self.level()?, offered.level()?);
        (its <= own).then_some(its)
    }

    /// `v7` is 7, and no variant 0.
    fn level(&self) -> Option<u32> {
        match &self.variant {
            None => Some(0),
            Some(variant) => variant.strip_prefix('v')?.split('.').next()?.parse().ok(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let wrong = parts.iter().any(|p| {
            p.is_empty()
                || !p
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
        match parts[..] {
            // The rest is this host's. Source: containerd's `platforms.Parse`.
            ["linux"] => Ok(Self::host()),
            [os, architecture] if !wrong => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if !wrong => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError {
                text: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: &str, offered: &[&str], expected: Option<&str>) {
        let wanted: Platform = wanted.parse().unwrap();
        let best = offered
            .iter()
            .filter_map(|text| Some((wanted.suitability(&text.parse().unwrap())?, *text)))
            .max_by_key(|(rank, _)| *rank);
        assert_eq!(best.map(|(_, text)| text), expected);
    }

    #[test]
    fn the_newest_variant_that_runs_is_best() {
        check(
            "linux/amd64",
            &["linux/arm64", "linux/amd64", "windows/amd64"],
            Some("linux/amd64"),
        );
        check(
            "linux/arm64",
            &["linux/arm64/v8", "linux/arm/v7"],
            Some("linux/arm64/v8"),
        );
        check(
            "linux/arm/v7",
            &["linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"],
            Some("linux/arm/v6"),
        );
        check("linux/arm/v6", &["linux/arm/v7"], None);
        check("linux/amd64", &["linux/amd64/v3"], None);
        check("linux/x86_64", &["linux/amd64/v1"], Some("linux/amd64/v1"));
        check("linux/riscv64", &["linux/amd64"], None);
    }

    #[test]
    fn odd_texts_are_refused() {
        for text in ["", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
