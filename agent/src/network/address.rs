//! Names of kernel objects, derived from identifiers, so that they can be found again after a crash.
//!
//!     bridge  wh-0123456789a     alias  wharfie:<network id>
//!     veth    whv0123456789a     alias  wharfie:<container id>
//!     table   wharfie
//!
//! A second node on the same machine (another data root) has a tag, which goes into all of them.

use std::path::Path;

use sha2::{Digest, Sha256};

/// Which of several nodes on this machine this is; empty for the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Empty, or six lower-case hex digits.
    tag: String,
}

impl Instance {
    /// The instance of a data root: the usual root has no tag, any other one made from its path.
    pub fn of_root(root: &Path) -> Self {
        if root == Path::new("/var/lib/wharfie") {
            return Self::default();
        }
        Self {
            tag: digest(&[root.as_os_str().as_encoded_bytes()], 6),
        }
    }
}

/// The first `digits` hex digits of the hash of the parts.
fn digest(parts: &[&[u8]], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}
