//! The terminal of the person: its size, and raw mode that never outlives the program.

use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;

use nix::sys::termios::{self, SetArg, Termios};

/// The modes to go back to while raw mode is on.
static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode of standard input; leaves it when dropped.
pub(crate) struct RawMode(());

impl RawMode {
    /// Every key goes to the container, and nothing is echoed here.
    ///
    /// # Errors
    ///
    /// Returns the reason of the kernel when standard input is not a terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let original = termios::tcgetattr(stdin.as_fd())?;
        let mut raw = original.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw)?;
        if let Ok(mut kept) = ORIGINAL.lock() {
            kept.get_or_insert(original);
        }
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Leaves raw mode if it is on. Called on every way out of the program.
pub(crate) fn restore() {
    let original = ORIGINAL.lock().ok().and_then(|mut kept| kept.take());
    if let Some(original) = original {
        // There is nothing left to do for a terminal that has gone away.
        let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &original);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// The size of the terminal behind a descriptor; `None` when it is not a terminal.
pub(crate) fn size(of: impl AsFd) -> Option<Size> {
    let size = window_size(of)?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Size {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

#[allow(unsafe_code)]
fn window_size(of: impl AsFd) -> Option<nix::libc::winsize> {
    use std::os::fd::AsRawFd;

    nix::ioctl_read_bad!(tiocgwinsz, nix::libc::TIOCGWINSZ, nix::libc::winsize);
    let mut size = nix::libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one `winsize` through the pointer, which points to one that lives
    // until the call returns (ioctl_tty(2)); the descriptor is open as long as `of` is borrowed.
    unsafe { tiocgwinsz(of.as_fd().as_raw_fd(), &raw mut size) }.ok()?;
    Some(size)
}
