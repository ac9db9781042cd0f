//! How little of the memory that it has freed the process keeps.
//!
//! A burst of work (fifty containers at once, an image) runs on some sixty threads for a moment. glibc
//! gives each of them an arena of its own, up to eight for each CPU, and an arena keeps what was freed
//! in it: without this, most of what a manager holds afterwards is holes.
//!
//!     burst ─► freed, but kept ──state unchanged for [`QUIET`]──► given back
//!
//! With another C library nothing is done here.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use scheduler::state::State;
use tokio::sync::watch;
use tokio::time::timeout;

/// A thread that waited for the disk, and has nothing more to wait for, ends after so long: until then
/// it keeps a stack and some of what it freed.
pub const IDLE: Duration = Duration::from_secs(1);
/// Nothing has changed for so long: what is freed by now will not be wanted again at once, and the
/// threads have ended.
const QUIET: Duration = Duration::from_secs(3);
/// The runtime has two or more threads that work at the same time; those that wait for the disk meet
/// in their arenas.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;
/// Bytes. Larger pieces are mapped each for itself, and are gone when they are freed. It is glibc's
/// own value, which else rises with the largest piece that was ever freed (mallopt(3)).
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 * 1024;

/// To be called before there is a second thread.
pub fn keep_little() {
    #[cfg(target_env = "gnu")]
    // SAFETY: these are numbers that the allocator takes note of; no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives back what was freed whenever the state has come to rest, until there is no more of it.
pub(crate) async fn settle(mut states: watch::Receiver<Arc<State>>) {
    while states.changed().await.is_ok() {
        while let Ok(changed) = timeout(QUIET, states.changed()).await {
            if changed.is_err() {
                return;
            }
        }
        // It takes about a millisecond for each 10 MB; the process goes on meanwhile.
        if tokio::task::spawn_blocking(give_back).await.is_err() {
            return;
        }
    }
}

fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, and touches only pages that nothing lies on.
    unsafe {
        libc::malloc_trim(0);
    }
}
