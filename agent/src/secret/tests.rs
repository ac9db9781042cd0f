//! In a mount namespace of the test's own.

use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, unshare};

use super::*;

/// Runs the test where its mounts are seen by nobody.
fn alone<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(test(directory.path().to_owned()));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn file(content: &str, mode: u32) -> SecretFile {
    SecretFile {
        content: content.into(),
        uid: 1000,
        gid: 1001,
        mode,
    }
}

#[test]
fn files_are_in_memory_with_their_owner_and_mode() {
    alone(|root| async move {
        let secrets = Secrets::new(&root);
        let id = ContainerId::new("abc");
        let paths = secrets
            .prepare(&id, &[file("one", 0o400), file("two", 0o644)])
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "one");
        let metadata = fs::metadata(&paths[1]).unwrap();
        assert_eq!(
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
            (1000, 1001, 0o644)
        );
        let kind = nix::sys::statfs::statfs(&paths[0])
            .unwrap()
            .filesystem_type();
        assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
        assert_eq!(secrets.containers(), std::slice::from_ref(&id));
    });
}

#[test]
fn removal_leaves_nothing_even_to_those_who_have_a_file_open() {
    alone(|root| async move {
        let secrets = Secrets::new(&root);
        let id = ContainerId::new("abc");
        let paths = secrets.prepare(&id, &[file("one", 0o400)]).await.unwrap();
        let open = File::open(&paths[0]).unwrap();
        secrets.remove(&id).await.unwrap();
        secrets.remove(&id).await.unwrap();
        assert_eq!(io::read_to_string(open).unwrap(), "");
        assert_eq!(fs::read_dir(root.join("secrets")).unwrap().count(), 0);
        assert!(secrets.containers().is_empty());
    });
}

#[test]
fn a_repeated_call_replaces_what_was_there() {
    alone(|root| async move {
        let secrets = Secrets::new(&root);
        let id = ContainerId::new("abc");
        secrets
            .prepare(&id, &[file("one", 0o400), file("two", 0o400)])
            .await
            .unwrap();
        let paths = secrets.prepare(&id, &[file("three", 0o400)]).await.unwrap();
        assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "three");
        assert_eq!(fs::read_dir(root.join("secrets/abc")).unwrap().count(), 1);
        assert!(secrets.prepare(&id, &[]).await.unwrap().is_empty());
        assert!(secrets.containers().is_empty());
        assert!(
            secrets
                .prepare(&ContainerId::new("../abc"), &[file("x", 0)])
                .await
                .is_err()
        );
    });
}

#[test]
fn nothing_shows_a_content() {
    assert_eq!(
        format!("{:?}", file("hunter2", 0o400)),
        "SecretFile { bytes: 7, .. }"
    );
}
