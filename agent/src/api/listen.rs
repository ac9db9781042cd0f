//! The node's socket in the file system.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use tokio::net::{UnixListener, UnixStream};

/// Groups whose members may use the socket; the first that exists gets it.
const GROUPS: [&str; 2] = ["wharfie", "docker"];

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("another node already answers on {path}")]
    Taken { path: PathBuf },
    #[error("{path} is in the way: it is not a socket")]
    NotASocket { path: PathBuf },
    #[error("cannot listen on {path}")]
    Io { path: PathBuf, source: io::Error },
}

/// Listens on a socket that only root and one group may use.
///
/// A socket that a dead process left behind is replaced; one that somebody answers on is not.
///
/// # Errors
///
/// Returns [`ListenError`] when the place is taken, or the file system refuses.
pub async fn listen(path: &Path) -> Result<UnixListener, ListenError> {
    let io = |source| ListenError::Io {
        path: path.to_owned(),
        source,
    };
    clear(path).await?;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(io)?;
    }
    let listener = bind_closed(path).map_err(io)?;
    if let Some(group) = GROUPS
        .iter()
        .find_map(|name| Group::from_name(name).ok().flatten())
    {
        chown(path, None, Some(group.gid.as_raw())).map_err(io)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(io)?;
    Ok(listener)
}

/// Binds under another name and renames, so that nobody ever sees the socket with open permissions.
fn bind_closed(path: &Path) -> io::Result<UnixListener> {
    let hidden = path.with_extension("new");
    match std::fs::remove_file(&hidden) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

/// Makes sure that nothing, or only a dead socket, is in the place.
async fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NotASocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(ListenError::Taken {
            path: path.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/w.sock");
        let first = listen(&path).await.unwrap();
        assert!(matches!(
            listen(&path).await,
            Err(ListenError::Taken { .. })
        ));
        drop(first);
        let _second = listen(&path).await.unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.sock");
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(
            listen(&path).await,
            Err(ListenError::NotASocket { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}
