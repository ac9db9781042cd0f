//! What must be cleared away before the node begins as something else.
//!
//! Written down before the step that cannot be taken back, and carried out at the next start, before
//! anything is opened: killed in between, the start after that does it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::{ClusterError, remove};
use crate::identity::Store;

/// Kept in `DATA/transition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// What it decided on its own is void. Counts only once it has an identity.
    Joined,
    /// A manager has become a worker, or the other way round.
    Role,
    /// It is nobody's any more, and will be somebody else: its id was used.
    Left,
    /// It stands alone again, with everything it has.
    Alone,
    /// It goes on as the only manager.
    Recovered,
}

const ALL: [Transition; 5] = [
    Transition::Joined,
    Transition::Role,
    Transition::Left,
    Transition::Alone,
    Transition::Recovered,
];

impl Transition {
    fn word(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Role => "role",
            Self::Left => "left",
            Self::Alone => "alone",
            Self::Recovered => "recovered",
        }
    }

    /// Writes down that it is to be done.
    pub(super) fn begin(self, root: &Path) -> Result<(), ClusterError> {
        let path = root.join("transition");
        let write = || -> io::Result<()> {
            let fresh = root.join("transition.new");
            let mut file = File::create(&fresh)?;
            file.write_all(self.word().as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(root)?.sync_all()
        };
        write().map_err(|source| ClusterError::Io {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

/// Does what is to be done, and returns what it was. [`Transition::Recovered`] is left to the caller,
/// who then calls [`done`].
///
/// # Errors
///
/// Returns [`ClusterError`] when something could not be removed; the next start tries again.
pub fn finish(root: &Path, store: &Store) -> Result<Option<Transition>, ClusterError> {
    let text = fs::read_to_string(root.join("transition")).unwrap_or_default();
    let Some(found) = ALL.into_iter().find(|it| it.word() == text) else {
        return Ok(None);
    };
    let doomed: &[&str] = match found {
        // The certificate never came.
        Transition::Joined if store.identity()?.is_none() => &[],
        Transition::Joined => &["manager", "ledger", "cluster/ledger", "cluster/joining.key"],
        Transition::Role => &["manager"],
        Transition::Left => &["manager", "ledger", "node-id", "cluster"],
        Transition::Alone => &["cluster"],
        Transition::Recovered => return Ok(Some(found)),
    };
    for name in doomed {
        let path = root.join(name);
        remove(&path).map_err(|source| ClusterError::Io {
            action: "remove",
            path,
            source,
        })?;
    }
    done(root)?;
    Ok(Some(found))
}

/// Nothing is left to be done.
///
/// # Errors
///
/// Returns [`ClusterError`] when the note cannot be removed.
pub fn done(root: &Path) -> Result<(), ClusterError> {
    let path = root.join("transition");
    remove(&path).map_err(|source| ClusterError::Io {
        action: "remove",
        path,
        source,
    })
}
