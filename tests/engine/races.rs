//! Somebody swaps directories for symlinks while the engine makes a container: it must never make
//! or mount anything outside of the container's root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use scheduler::model::id::TaskId;
use serde_json::json;

use crate::support::{Config, Host, mount, new_id};

/// For so long the one tries to be in the other's way.
const RACE: Duration = Duration::from_secs(2);

/// `shared/place` is a directory and a symlink to `outside` by turns, as fast as can be.
struct Swapper {
    directory: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Swapper {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["outside", "shared", "shared/place"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink(at("outside"), at("shared/link")).unwrap();
        let (place, link) = (at("shared/place"), at("shared/link"));
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || swap(&place, &link, &until));
        Self {
            directory,
            stop,
            thread: Some(thread),
        }
    }

    fn shared(&self) -> String {
        self.directory.path().join("shared").display().to_string()
    }

    /// What was made outside; nothing, if all is well.
    fn finish(mut self) -> Vec<PathBuf> {
        self.stop.store(true, Ordering::Relaxed);
        let swaps = self.thread.take().unwrap().join().unwrap();
        assert!(swaps > 0, "nobody raced");
        let outside = fs::read_dir(self.directory.path().join("outside")).unwrap();
        outside.map(|entry| entry.unwrap().path()).collect()
    }
}

fn swap(place: &Path, link: &Path, stop: &AtomicBool) -> u64 {
    let end = Instant::now() + RACE * 30;
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        let exchange = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, place, AT_FDCWD, link, exchange).unwrap();
        swaps += 1;
    }
    swaps
}

/// Makes and starts containers while it lasts. Each may fail, but reaches nothing outside.
async fn check(change: impl Fn(Config) -> Config) {
    let mut host = Host::new().await;
    let swapper = Swapper::start();
    let begin = Instant::now();
    let mut made = 0;
    while begin.elapsed() < RACE || made == 0 {
        let config = host.config("exit 0");
        let shared = mount("/shared", "bind", &swapper.shared(), &["rbind"]);
        let config = change(config.mount(shared));
        let id = new_id();
        let task = TaskId::new(format!("task-{}", id.short()));
        host.containers.prepare(&id, config.bundle()).await.unwrap();
        if host.containers.create(&id, &task).await.is_ok() {
            if host.containers.start(&id).await.is_ok() {
                host.exit_of(&id).await;
            }
            made += 1;
        }
        host.containers.remove(&id).await.unwrap();
        assert!(begin.elapsed() < RACE * 30, "none was made");
    }
    assert_eq!(swapper.finish(), Vec::<PathBuf>::new());
    host.leave_nothing().await;
}

#[tokio::test]
async fn a_swapped_mount_target_leads_nowhere() {
    check(|config| config.mount(mount("/shared/place/target", "tmpfs", "tmpfs", &[]))).await;
}

#[tokio::test]
async fn a_swapped_target_of_a_bound_file_leads_nowhere() {
    check(|config| {
        config.mount(mount(
            "/shared/place/file",
            "bind",
            "/etc/hostname",
            &["bind", "ro"],
        ))
    })
    .await;
}

#[tokio::test]
async fn a_swapped_working_directory_leads_nowhere() {
    check(|config| config.set("/process/cwd", json!("/shared/place/deep/work"))).await;
}
