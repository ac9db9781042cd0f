//! `--resolve-image-digests` and `--lock-image-digests`: images by what they are, not by what they
//! are called today.
//!
//! The node knows the digests of the images that it has; an image that it has not is to be pulled first.

use std::collections::{BTreeMap, BTreeSet};

use scheduler::compose::{Canonical, Mapping, Tree};
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
fn images<'a>(canonical: &'a Canonical<'_>) -> BTreeSet<&'a str> {
    let services = canonical.section("services").into_iter();
    let services = services.flat_map(Mapping::iter);
    services.filter_map(|(_, it)| image(it)).collect()
}

fn image<'a>(service: &'a Tree<'_>) -> Option<&'a str> {
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
    canonical: &Canonical<'_>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut pinned = BTreeMap::new();
    // One that is built and has no name is not in any registry.
    for name in images(canonical) {
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
        pinned.insert(name.to_owned(), format!("{name}@{digest}"));
    }
    Ok(pinned)
}
