//! The hash of a service's configuration, as Docker Compose writes it into the label
//! `com.docker.compose.config-hash`.
//!
//! It says whether a container was made from this configuration: what only decides how many there
//! are, when they start and where the image comes from is left out.
//!
//! Source: `ServiceHash` of Docker Compose.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{Dollars, Extensions, Style, Tree, build, complete_service};
use crate::compose::document::Node;
use crate::compose::schema::service::SERVICE;

const LEFT_OUT: [&str; 5] = ["build", "pull_policy", "scale", "depends_on", "profiles"];

pub(in crate::compose) fn config_hash(service: &Node) -> String {
    let style = Style {
        dollars: Dollars::AsWritten,
        extensions: Extensions::Dropped,
    };
    let mut tree = build(&SERVICE, service, style);
    if let Tree::Map(map) = &mut tree {
        complete_service(map);
        map.retain(|key, _| !LEFT_OUT.contains(&key));
        if let Some(Tree::Map(deploy)) = map.get_mut("deploy") {
            deploy.retain(|key, _| key != "replicas");
        }
    }
    tree.sort_for_json();
    let json = serde_json::to_string(&tree).unwrap_or_default();
    let mut text = String::new();
    for byte in Sha256::digest(escaped_for_html(&json)) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// As Go writes JSON: these characters stand only in strings.
fn escaped_for_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(char));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
