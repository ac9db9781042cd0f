//! What an image says about the containers made from it: the parsed form of its config blob.
//!
//! Reads what Docker, BuildKit, Podman and hand-made images write: absent and `null` fields are
//! empty, unknown fields are ignored. The bytes themselves stay in the store, since their digest
//! is the image's id.
//!
//! Source: OCI image specification, `config.md`; Docker's additions in
//! github.com/moby/docker-image-spec, `specs-go/v1/image.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scheduler::model::container::{HealthTest, Healthcheck};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::digest::{Digest, DigestError};
use super::platform::Platform;

/// Most layers of an image: overlayfs takes 500, its option page takes 127 of our names.
const MAX_LAYERS: usize = 127;

/// An image's config blob, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageConfig {
    pub platform: Platform,
    /// RFC 3339, as the builder wrote it.
    pub created: Option<String>,
    pub author: String,
    /// What containers start with.
    pub defaults: Defaults,
    /// Digests of the uncompressed layers, the lowest first.
    pub diff_ids: Vec<Digest>,
    pub history: Vec<History>,
}

/// What a container gets where its spec says nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// `user`, `uid`, `user:group` or `uid:gid`; empty is root.
    pub user: String,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    /// Empty is `/`.
    pub working_dir: String,
    /// `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Paths that get an anonymous volume each.
    pub volumes: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM`, `15`.
    pub stop_signal: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    /// For the shell form of `RUN` and of health checks; `["/bin/sh", "-c"]` when absent.
    pub shell: Option<Vec<String>>,
    pub on_build: Vec<String>,
}

/// How one layer, or one change of metadata, came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct History {
    #[serde(deserialize_with = "lenient")]
    pub created: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub created_by: String,
    #[serde(deserialize_with = "lenient")]
    pub author: String,
    #[serde(deserialize_with = "lenient")]
    pub comment: String,
    #[serde(deserialize_with = "lenient")]
    pub empty_layer: bool,
}

/// Why a config blob cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the image's configuration is not the JSON that it should be")]
    Json(#[from] serde_json::Error),
    #[error("the image's configuration names a layer wrongly")]
    DiffId(#[from] DigestError),
    #[error("the image's file system is of type `{kind}`, only `layers` is supported")]
    RootFs { kind: String },
    #[error("the image has {count} layers, at most {MAX_LAYERS} are supported")]
    TooManyLayers { count: usize },
    #[error("the configuration names {config} layers and the manifest {manifest}")]
    LayerCount { config: usize, manifest: usize },
}

impl ImageConfig {
    /// Parses a config blob; a manifest that does not say it is for another kind is trusted.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let wire: wire::Image = serde_json::from_slice(json)?;
        if wire.rootfs.kind != "layers" && !wire.rootfs.kind.is_empty() {
            return Err(ConfigError::RootFs {
                kind: wire.rootfs.kind,
            });
        }
        let diff_ids: Vec<Digest> = wire
            .rootfs
            .diff_ids
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()?;
        if diff_ids.len() > MAX_LAYERS {
            return Err(ConfigError::TooManyLayers {
                count: diff_ids.len(),
            });
        }
        let os = if wire.os.is_empty() {
            "linux"
        } else {
            &wire.os
        };
        let host = Platform::host();
        let architecture = if wire.architecture.is_empty() {
            &host.architecture
        } else {
            &wire.architecture
        };
        Ok(Self {
            platform: Platform::new(os, architecture, Some(&wire.variant)),
            created: wire.created,
            author: wire.author,
            defaults: wire.config.into_defaults(),
            diff_ids,
            history: wire.history,
        })
    }
}

/// `null` is the default, as in Go.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Docker's JSON, as it is written.
mod wire {
    use super::*;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub(super) struct Image {
        #[serde(deserialize_with = "lenient")]
        pub(super) os: String,
        #[serde(deserialize_with = "lenient")]
        pub(super) architecture: String,
        #[serde(deserialize_with = "lenient")]
        pub(super) variant: String,
        pub(super) created: Option<String>,
        #[serde(deserialize_with = "lenient")]
        pub(super) author: String,
        #[serde(deserialize_with = "lenient")]
        pub(super) config: Config,
        #[serde(deserialize_with = "lenient")]
        pub(super) rootfs: RootFs,
        #[serde(deserialize_with = "lenient")]
        pub(super) history: Vec<History>,
    }

    #[derive(Default, Deserialize)]
    #[serde(default)]
    pub(super) struct RootFs {
        #[serde(rename = "type", deserialize_with = "lenient")]
        pub(super) kind: String,
        #[serde(deserialize_with = "lenient")]
        pub(super) diff_ids: Vec<String>,
    }

    /// A set, which Go writes as a map to empty objects.
    type Set = BTreeMap<String, serde::de::IgnoredAny>;

    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(super) struct Config {
        #[serde(deserialize_with = "lenient")]
        user: String,
        #[serde(deserialize_with = "lenient")]
        env: Vec<String>,
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
        #[serde(deserialize_with = "lenient")]
        working_dir: String,
        #[serde(deserialize_with = "lenient")]
        exposed_ports: Set,
        #[serde(deserialize_with = "lenient")]
        volumes: Set,
        #[serde(deserialize_with = "lenient")]
        labels: BTreeMap<String, String>,
        stop_signal: Option<String>,
        healthcheck: Option<Health>,
        shell: Option<Vec<String>>,
        #[serde(deserialize_with = "lenient")]
        on_build: Vec<String>,
    }

    /// Durations are in nanoseconds, and 0 means "the default".
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Health {
        #[serde(deserialize_with = "lenient")]
        test: Vec<String>,
        interval: Option<i64>,
        timeout: Option<i64>,
        start_period: Option<i64>,
        start_interval: Option<i64>,
        retries: Option<i64>,
    }

    impl Config {
        pub(super) fn into_defaults(self) -> Defaults {
            let words = |words: Option<Vec<String>>| words.filter(|words| !words.is_empty());
            Defaults {
                user: self.user,
                env: self.env,
                entrypoint: words(self.entrypoint),
                cmd: words(self.cmd),
                working_dir: self.working_dir,
                exposed_ports: self.exposed_ports.into_keys().collect(),
                volumes: self.volumes.into_keys().collect(),
                labels: self.labels,
                stop_signal: self.stop_signal.filter(|signal| !signal.is_empty()),
                healthcheck: self.healthcheck.and_then(Health::into_healthcheck),
                shell: words(self.shell),
                on_build: self.on_build,
            }
        }
    }

    impl Health {
        fn into_healthcheck(self) -> Option<Healthcheck> {
            let test = match self.test.split_first() {
                None => None,
                Some((kind, _)) if kind == "NONE" => Some(HealthTest::Disabled),
                Some((kind, rest)) if kind == "CMD" => Some(HealthTest::Command(rest.to_vec())),
                Some((kind, rest)) if kind == "CMD-SHELL" => {
                    Some(HealthTest::Shell(rest.join(" ")))
                }
                // Not a form that Docker knows; it would never run.
                Some(_) => return None,
            };
            let nanos = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
            let duration = |n: Option<i64>| nanos(n).map(Duration::from_nanos);
            Some(Healthcheck {
                test,
                interval: duration(self.interval),
                timeout: duration(self.timeout),
                start_period: duration(self.start_period),
                start_interval: duration(self.start_interval),
                retries: nanos(self.retries).and_then(|n| u32::try_from(n).ok()),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_configs_are_read_with_all_their_nulls() {
        let config = ImageConfig::parse(
            br#"{"architecture":"arm64","os":"linux","config":{"Hostname":"","Env":["A=b"],"Cmd":["sh"],
                "Entrypoint":null,"Volumes":null,"ExposedPorts":{"80/tcp":{}},"Labels":null,"OnBuild":null,
                "Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Retries":3,"Timeout":0}},
                "container_config":{"a":1},"created":"2024-01-01T00:00:00Z","history":[{"created_by":"x","empty_layer":true}],
                "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert_eq!(config.platform.to_string(), "linux/arm64/v8");
        assert_eq!(config.defaults.cmd, Some(vec!["sh".to_owned()]));
        assert_eq!(config.defaults.entrypoint, None);
        assert_eq!(
            config.defaults.exposed_ports.iter().next().unwrap(),
            "80/tcp"
        );
        let health = config.defaults.healthcheck.unwrap();
        assert_eq!(health.test, Some(HealthTest::Shell("curl x".into())));
        assert_eq!(
            (health.interval, health.timeout, health.retries),
            (Some(Duration::from_secs(5)), None, Some(3))
        );
        assert!(config.history[0].empty_layer);
        assert!(ImageConfig::parse(br#"{"config":null,"rootfs":null}"#).is_ok());
    }

    #[test]
    fn configs_that_name_layers_wrongly_are_refused() {
        let diff_ids = |ids: &str| {
            ImageConfig::parse(format!(r#"{{"rootfs":{{"diff_ids":[{ids}]}}}}"#).as_bytes())
        };
        assert!(matches!(
            diff_ids(r#""sha256:../x""#),
            Err(ConfigError::DiffId(_))
        ));
        let many = vec![format!("\"{}\"", Digest::of(b"")); 128].join(",");
        assert!(matches!(
            diff_ids(&many),
            Err(ConfigError::TooManyLayers { count: 128 })
        ));
        assert!(matches!(
            ImageConfig::parse(br#"{"rootfs":{"type":"tree"}}"#),
            Err(ConfigError::RootFs { .. })
        ));
        assert!(matches!(
            ImageConfig::parse(b"7"),
            Err(ConfigError::Json(_))
        ));
    }
}
