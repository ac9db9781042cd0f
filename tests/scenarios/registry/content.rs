//! What an image may look like in a registry, and what is not believed.

use std::fs;

use serde_json::{Value, json};

use super::{Registry, digest, file, layer, marker};
use crate::support::Host;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const BOX: &str = "tools/box";

/// An OCI manifest with one layer, which lies in the file `layer`.
fn manifest(registry: &Registry, host: &Host, architecture: &str, diff_id: &str) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": registry.config(host, BOX, architecture, &[diff_id], CONFIG),
        "layers": [registry.blob(host, BOX, "layer", ZSTD)],
    })
}

#[test]
fn of_an_index_the_hosts_platform_is_taken_and_its_zstd_layers_unpacked() {
    let mut host = Host::bare();
    host.start_agent();
    let registry = Registry::on(&host, "", "");
    // In the order of names, as some tools write it: the first one is not always ours.
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64", "s390x"] {
        let diff_id = layer(&host, architecture, "zstd -qc");
        let image = manifest(&registry, &host, architecture, &diff_id);
        let mut entry = registry.manifest(&host, BOX, None, &image);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entries.insert(0, entry);
    }
    // What BuildKit adds about how an image was made; it names no platform.
    let mut about = entries[0].clone();
    about["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    entries.insert(0, about);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    registry.manifest(&host, BOX, Some("1"), &index);
    host.compose("app", &file("1"), "up -d").succeeds();
    let own = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    };
    assert_eq!(marker(&host), own);
    host.wharfie("-p app down").succeeds();
    let foreign = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entries[1]] });
    registry.manifest(&host, BOX, Some("foreign"), &foreign);
    let ran = host.compose("app", &file("foreign"), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says("linux/s390x");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

#[test]
fn a_layer_that_is_not_what_was_promised_is_refused_and_leaves_nothing() {
    let mut host = Host::bare();
    host.start_agent();
    let registry = Registry::on(&host, "", "");
    let diff_id = layer(&host, "good", "zstd -qc");
    let before = stored(&host);

    // Other bytes in the registry's store.
    let good = manifest(&registry, &host, "amd64", &diff_id);
    registry.manifest(&host, BOX, Some("bytes"), &good);
    let hex = digest(&host, "layer").replace("sha256:", "");
    let blob = Registry::storage(&host)
        .join("docker/registry/v2/blobs/sha256")
        .join(&hex[..2])
        .join(&hex)
        .join("data");
    let whole = fs::read(&blob).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    refused(&host, "bytes", &hex, &before);

    // A whole one whose content is not what the config names.
    fs::write(&blob, whole).unwrap();
    let other = format!("sha256:{}", "7".repeat(64));
    let lying = manifest(&registry, &host, "amd64", &other);
    registry.manifest(&host, BOX, Some("content"), &lying);
    refused(&host, "content", &other, &before);

    host.compose("app", &file("bytes"), "up -d").succeeds();
    assert_eq!(marker(&host), "good");
    host.wharfie("-p app down").succeeds();
    host.leaves_nothing();
}

/// The image cannot be had, its digest is named, and nothing of it stays.
#[track_caller]
fn refused(host: &Host, tag: &str, named: &str, before: &str) {
    let ran = host.compose("app", &file(tag), "up -d");
    assert!(ran.code != 0, "{ran}");
    ran.says(named).says("digest");
    host.wharfie("-p app down").succeeds();
    assert_eq!(stored(host), before, "{tag}");
}

/// All files of the image store.
fn stored(host: &Host) -> String {
    let line = format!(
        "cd {} && find . -path ./images.json -prune -o -print | sort",
        host.path("data/images").display()
    );
    host.shell(&line).succeeds().stdout
}
