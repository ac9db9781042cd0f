//! What a container mounts that belongs to something else: the volumes of another container
//! (`volumes_from`), and the files of an image.
//!
//! Each container's volumes and binds are written down beside its bundle, so that another one can
//! have them too.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use scheduler::model::container::PullPolicy;
use scheduler::model::id::ContainerId;

use super::LinuxHost;
use crate::container::spec::{ResolvedMount, ResolvedSource};
use crate::container::user::layers;
use crate::fetch::Wish;
use crate::host::{OpError, Run};

/// The volumes of a container, in its directory.
const VOLUMES: &str = "volumes.json";

impl LinuxHost {
    /// Writes down what other containers may have of this one.
    pub(super) async fn share(
        &self,
        id: &ContainerId,
        mounts: &[ResolvedMount],
    ) -> Result<(), OpError> {
        let is_shared = |it: &&ResolvedMount| matches!(it.source, ResolvedSource::Host { .. });
        let shared: Vec<_> = mounts.iter().filter(is_shared).collect();
        let directory = self.drivers.containers.directory(id);
        let text = serde_json::to_vec(&shared).map_err(|error| OpError::because(&error))?;
        let written = match tokio::fs::create_dir_all(&directory).await {
            Ok(()) => tokio::fs::write(directory.join(VOLUMES), text).await,
            Err(error) => Err(error),
        };
        written.map_err(|error| OpError::because(&error))
    }

    /// The volumes of other containers, where this one mounts nothing itself.
    ///
    /// One that has not been prepared yet has none: the bundle is written again right before the
    /// start, which waits for it.
    pub(super) async fn shared(
        &self,
        run: &Run,
        own: &[ResolvedMount],
    ) -> Result<Vec<ResolvedMount>, OpError> {
        let plain = |it: &ResolvedMount| it.target.trim_end_matches('/').to_owned();
        let mut taken: BTreeSet<String> = own.iter().map(plain).collect();
        let mut found = Vec::new();
        for from in &run.task.spec.volumes_from {
            let Some(other) = run.task.joins.get(&from.key()) else {
                continue;
            };
            let file = self.drivers.containers.directory(other).join(VOLUMES);
            let Ok(text) = tokio::fs::read(&file).await else {
                continue;
            };
            let mounts: Vec<ResolvedMount> =
                serde_json::from_slice(&text).map_err(|error| OpError::because(&error))?;
            for mount in mounts {
                if taken.insert(plain(&mount)) {
                    found.push(ResolvedMount {
                        read_only: mount.read_only || from.read_only,
                        ..mount
                    });
                }
            }
        }
        Ok(found)
    }

    /// The files of an image, or a part of them.
    pub(super) async fn image_files(
        &self,
        name: &str,
        subpath: Option<&str>,
    ) -> Result<ResolvedSource, OpError> {
        let refused = |reason: String| OpError {
            reason,
            exit_code: Some(125),
        };
        let fetcher = &self.drivers.fetcher;
        let wish = Wish {
            image: name,
            platform: None,
            policy: PullPolicy::Missing,
            pin: None,
            login: None,
        };
        let image = fetcher.fetch(wish).await;
        let image = image.map_err(|error| refused(error.chain()))?;
        let layers = self.drivers.images.layers(&image);
        let path = Path::new(subpath.unwrap_or_default());
        let inside = |it: Component<'_>| matches!(it, Component::Normal(_) | Component::CurDir);
        if !path.components().all(inside) {
            return Err(refused(format!(
                "`{}` is not a path inside of image {name}",
                path.display()
            )));
        }
        let parts = layers::parts(&layers, path);
        match parts.as_slice() {
            [] => Err(refused(format!(
                "image {name} has nothing at `{}`",
                path.display()
            ))),
            [only] => Ok(ResolvedSource::Host {
                path: only.clone(),
                recursive: false,
                writable_below: false,
                propagation: None,
            }),
            _ => Ok(ResolvedSource::Layers(parts)),
        }
    }
}
