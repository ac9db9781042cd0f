//! `--resolve-image-digests` and `--lock-image-digests`: images by what they are, not by what they
//! are called today.
//!
//! The node knows the digests of the images that it has; an image that it has not is to be pulled first.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::compose::{Project, Tree};
use serde::Deserialize;

use crate::connect::{Client, escape};
use crate::error::Failure;

/// What is asked of `GET /images/{name}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Image {
    repo_digests: Option<Vec<String>>,
}

/// The images that the files name.
fn images(project: &Project) -> BTreeSet<&String> {
    let Some(Tree::Map(services)) = project.canonical.sections().get("services") else {
        return BTreeSet::new();
    };
    services.values().filter_map(image).collect()
}

fn image(service: &Tree) -> Option<&String> {
    match service {
        Tree::Map(service) => match service.get("image")? {
            Tree::Text(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// The images of a project, by how the files call them, each with its digest.
pub(super) async fn pinned(
    client: &Client,
    project: &Project,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut pinned = BTreeMap::new();
    // One that is built and has no name is not in any registry.
    for name in images(project) {
        if name.is_empty() || name.contains('@') {
            continue;
        }
        let path = format!("/images/{}/json", escape(name));
        let image: Option<Image> = client.find(&path).await?;
        let digests = image.and_then(|it| it.repo_digests).unwrap_or_default();
        let digest = digests.iter().find_map(|it| Some(it.split_once('@')?.1));
        let Some(digest) = digest else {
            return Err(Failure::new(format!("the digest of image `{name}` is not known"))
                .hint(format!("Fetch it with `wharfie pull`: the node knows the digests of images that it pulled, and `{name}` is not one of them.")));
        };
        pinned.insert(name.clone(), format!("{name}@{digest}"));
    }
    Ok(pinned)
}
