//! In a mount namespace of the test's own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

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

fn spec(name: &str, options: &[(&str, &str)]) -> VolumeSpec {
    let driver_opts = options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    VolumeSpec {
        name: name.to_owned(),
        driver_opts,
        ..VolumeSpec::default()
    }
}

const NOW: Timestamp = Timestamp::from_nanos(7);

fn tree(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn a_volume_outlives_being_made_again_and_goes_when_removed() {
    alone(|root| async move {
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        let data = volumes.ensure(&spec("data", &[]), NOW).await.unwrap();
        fs::write(data.join("file"), "kept").unwrap();
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        volumes
            .ensure(&spec("data", &[]), Timestamp::from_nanos(8))
            .await
            .unwrap();
        assert_eq!(
            fs::read_to_string(volumes.attach("data", None).await.unwrap().join("file")).unwrap(),
            "kept"
        );
        assert_eq!(volumes.inspect("data").await.unwrap().created_at, NOW);
        assert_eq!(
            volumes.list().await.unwrap().keys().collect::<Vec<_>>(),
            ["data"]
        );
        volumes.remove("data").await.unwrap();
        volumes.remove("data").await.unwrap();
        assert!(matches!(
            volumes.inspect("data").await,
            Err(VolumeError::Unknown { .. })
        ));
        assert_eq!(fs::read_dir(root.join("volumes")).unwrap().count(), 0);
    });
}

#[test]
fn a_removal_that_was_interrupted_is_finished() {
    alone(|root| async move {
        tree(&root, &[(".removing-data/_data/file", "x")]);
        Volumes::open(&root).unwrap();
        assert!(!root.join(".removing-data").exists());
    });
}

#[test]
fn a_removal_that_failed_half_way_is_taken_up_when_it_is_asked_for_again() {
    alone(|root| async move {
        let volumes = Volumes::open(&root).unwrap();
        tree(&root, &[(".removing-data/_data/file", "x")]);
        volumes.remove("data").await.unwrap();
        assert!(!root.join(".removing-data").exists());
    });
}

#[test]
fn names_and_options_that_cannot_be_are_refused() {
    alone(|root| async move {
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        for name in [
            "",
            ".",
            "..",
            "a/b",
            ".removing-x",
            "-x",
            "a b",
            &"x".repeat(250),
        ] {
            let made = volumes.ensure(&spec(name, &[]), NOW).await;
            assert!(
                matches!(made, Err(VolumeError::InvalidName { .. })),
                "{name:?}"
            );
        }
        volumes.remove("../volumes").await.unwrap_err();
        let other = VolumeSpec {
            driver: "nfs".to_owned(),
            ..spec("data", &[])
        };
        assert!(matches!(
            volumes.ensure(&other, NOW).await,
            Err(VolumeError::Driver { .. })
        ));
        volumes.ensure(&spec("data", &[]), NOW).await.unwrap();
        let changed = spec("data", &[("type", "tmpfs"), ("device", "tmpfs")]);
        assert!(matches!(
            volumes.ensure(&changed, NOW).await,
            Err(VolumeError::Differs { .. })
        ));
    });
}

#[test]
fn an_anonymous_volume_is_found_again_and_inherited() {
    alone(|root| async move {
        let volumes = Volumes::open(&root).unwrap();
        let (old, new) = (ContainerId::new("old"), ContainerId::new("new"));
        let name = volumes.anonymous(&old, "/data", None, NOW).await.unwrap();
        assert_eq!(
            volumes.anonymous(&old, "/data", None, NOW).await.unwrap(),
            name
        );
        assert_ne!(
            volumes.anonymous(&old, "/other", None, NOW).await.unwrap(),
            name
        );
        assert_eq!(
            volumes
                .anonymous(&new, "/data", Some(&old), NOW)
                .await
                .unwrap(),
            name
        );
        assert_eq!(
            volumes
                .anonymous(&new, "/data", Some(&old), NOW)
                .await
                .unwrap(),
            name
        );
        let owner = volumes.inspect(&name).await.unwrap().anonymous.unwrap();
        assert_eq!(owner.container, new);
    });
}

#[test]
fn driver_options_are_mounted_when_used_and_what_they_bind_survives_removal() {
    alone(|root| async move {
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        tree(&root, &[("precious/file", "data")]);
        let device = root.join("precious");
        let bind = spec(
            "bound",
            &[
                ("type", "none"),
                ("o", "bind"),
                ("device", device.to_str().unwrap()),
            ],
        );
        volumes.ensure(&bind, NOW).await.unwrap();
        for _ in 0..2 {
            let data = volumes.attach("bound", None).await.unwrap();
            assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "data");
        }
        volumes.remove("bound").await.unwrap();
        assert_eq!(fs::read_to_string(device.join("file")).unwrap(), "data");

        let memory = spec(
            "memory",
            &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")],
        );
        volumes.ensure(&memory, NOW).await.unwrap();
        let data = volumes.attach("memory", None).await.unwrap();
        fs::write(data.join("file"), "gone with the mount").unwrap();
        volumes.detach("memory").await.unwrap();
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
    });
}

#[test]
fn a_volume_in_use_is_not_removed() {
    alone(|root| async move {
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        let memory = spec("memory", &[("type", "tmpfs"), ("device", "tmpfs")]);
        volumes.ensure(&memory, NOW).await.unwrap();
        let data = volumes.attach("memory", None).await.unwrap();
        let open = fs::File::create(data.join("file")).unwrap();
        assert!(matches!(
            volumes.remove("memory").await,
            Err(VolumeError::Busy { .. })
        ));
        assert!(data.join("file").exists());
        drop(open);
        volumes.remove("memory").await.unwrap();
    });
}

#[test]
fn a_part_of_a_volume_stays_within_it() {
    alone(|root| async move {
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        let data = volumes.ensure(&spec("data", &[]), NOW).await.unwrap();
        tree(&data, &[("a/b/file", "inside")]);
        symlink("a/b", data.join("within")).unwrap();
        symlink("/etc", data.join("absolute")).unwrap();
        symlink("../../..", data.join("upwards")).unwrap();
        for subpath in ["a/b", "/a/b/", "within"] {
            let part = volumes.attach("data", Some(subpath)).await.unwrap();
            assert_eq!(
                fs::read_to_string(part.join("file")).unwrap(),
                "inside",
                "{subpath}"
            );
        }
        for subpath in ["absolute", "upwards", "..", "a/../..", "missing"] {
            let attached = volumes.attach("data", Some(subpath)).await;
            assert!(
                matches!(attached, Err(VolumeError::Subpath { .. })),
                "{subpath}"
            );
        }
        volumes.remove("data").await.unwrap();
    });
}

#[test]
fn a_new_volume_is_filled_from_the_image() {
    alone(|root| async move {
        let (lower, upper) = (root.join("lower"), root.join("upper"));
        tree(
            &lower,
            &[
                ("srv/www/index", "old"),
                ("srv/www/deep/file", "deep"),
                ("srv/www/deleted", "x"),
            ],
        );
        tree(&upper, &[("srv/www/index", "new")]);
        // Deleted by the upper layer, as the overlay writes it.
        let whiteout = upper.join("srv/www/deleted");
        nix::sys::stat::mknod(
            &whiteout,
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::empty(),
            0,
        )
        .unwrap();
        symlink("/etc/passwd", upper.join("srv/www/link")).unwrap();
        symlink("srv", upper.join("var")).unwrap();
        chown(upper.join("srv/www"), Some(33), Some(34)).unwrap();
        fs::set_permissions(upper.join("srv/www"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::set_permissions(
            upper.join("srv/www/index"),
            fs::Permissions::from_mode(0o4755),
        )
        .unwrap();

        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        let data = volumes.ensure(&spec("data", &[]), NOW).await.unwrap();
        let layers = [upper, lower];
        // Through a link of the image.
        volumes.populate("data", &layers, "/var/www").await.unwrap();
        assert_eq!(fs::read_to_string(data.join("index")).unwrap(), "new");
        assert_eq!(fs::read_to_string(data.join("deep/file")).unwrap(), "deep");
        assert!(!data.join("deleted").exists());
        assert_eq!(
            fs::read_link(data.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        let top = fs::metadata(&data).unwrap();
        assert_eq!((top.uid(), top.gid(), top.mode() & 0o7777), (33, 34, 0o750));
        assert_eq!(
            fs::metadata(data.join("index")).unwrap().mode() & 0o7777,
            0o4755
        );

        // Not again, once there is something in it.
        fs::write(data.join("index"), "mine").unwrap();
        volumes.populate("data", &layers, "/srv/www").await.unwrap();
        assert_eq!(fs::read_to_string(data.join("index")).unwrap(), "mine");
        // Nothing else is left of it.
        let mut left: Vec<_> = fs::read_dir(root.join("volumes/data"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["_data", "volume.json"]);
    });
}

#[test]
fn a_hostile_image_fills_nothing_from_the_host() {
    alone(|root| async move {
        tree(&root, &[("host/secret", "secret")]);
        let layer = root.join("layer");
        fs::create_dir(&layer).unwrap();
        symlink(root.join("host"), layer.join("absolute")).unwrap();
        symlink("../host", layer.join("relative")).unwrap();
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        for (number, target) in ["/absolute", "/relative", "/../host", "/missing"]
            .iter()
            .enumerate()
        {
            let name = format!("data{number}");
            let data = volumes.ensure(&spec(&name, &[]), NOW).await.unwrap();
            volumes
                .populate(&name, std::slice::from_ref(&layer), target)
                .await
                .unwrap();
            assert_eq!(fs::read_dir(data).unwrap().count(), 0, "{target}");
        }
    });
}

#[test]
fn filling_that_was_interrupted_starts_again() {
    alone(|root| async move {
        let layer = root.join("layer");
        tree(&layer, &[("srv/a", "whole"), ("srv/b", "whole")]);
        let volumes = Volumes::open(&root.join("volumes")).unwrap();
        let data = volumes.ensure(&spec("data", &[]), NOW).await.unwrap();
        tree(
            &root,
            &[
                ("volumes/data/filling", ""),
                ("volumes/data/_data/a", "hal"),
            ],
        );
        volumes.populate("data", &[layer], "/srv").await.unwrap();
        assert_eq!(fs::read_to_string(data.join("a")).unwrap(), "whole");
        assert_eq!(fs::read_to_string(data.join("b")).unwrap(), "whole");
    });
}
