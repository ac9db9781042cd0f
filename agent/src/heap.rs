//! How the process takes memory, and how little of what it has freed it keeps.
//!
//! A node stays, and must stay small. A burst of work (fifty containers at once, an image) runs on some sixty threads for a moment. glibc
//! gives each of them an arena of its own, up to eight for each CPU, and an arena keeps what was freed
//! in it: without this, most of what a manager holds afterwards is holes.
//!
//!     burst ─► freed, but kept ──state unchanged for [`QUIET`]──► given back
//!
//! A command ends soon, and must begin fast: [`take_much`]. Page by page, the kernel needs longer to hand
//! out the memory for a thousand services than it takes to read them.
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
/// Each thread keeps a little for itself (tcache), so that one arena is no queue; what a second one kept
/// would be half a manager's heap.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 1;
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

/// What the processor has besides small pages of 4 KB, on x86-64 and most others.
#[cfg(target_env = "gnu")]
const PAGE: usize = 2 << 20;
/// Bytes that a command takes at once: what a thousand services need. Memory that is never touched costs
/// nothing.
#[cfg(target_env = "gnu")]
const ROOM: usize = 24 << 20;
/// Bytes; the most that glibc takes (mallopt(3)). Nothing smaller is mapped for itself.
#[cfg(target_env = "gnu")]
const LARGEST: libc::c_int = 32 << 20;

/// For a command that soon ends: takes memory in one large piece, in pages of 2 MB if the kernel has
/// them (where it is set to `madvise` or `always`), and gives nothing back before the end.
///
/// To be called before there is a second thread.
pub fn take_much() {
    #[cfg(target_env = "gnu")]
    // SAFETY: these are numbers that the allocator takes note of, and a wish about pages that lie within
    // `room`, as it begins less than a page before the first; no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        // Freed at once, it lies at the end of the heap, from where all that follows is taken.
        let mut room = Vec::<u8>::with_capacity(ROOM);
        let first = room.as_mut_ptr();
        let first = first.add(first.align_offset(PAGE));
        // A kernel without large pages refuses, and nothing is lost.
        libc::madvise(first.cast(), ROOM - PAGE, libc::MADV_HUGEPAGE);
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
