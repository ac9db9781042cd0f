//! What every connection between nodes has set: a peer that is gone is noticed.

use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;

/// Unacknowledged bytes, or probes, for so long: the other side is gone (tcp(7), TCP_USER_TIMEOUT).
const GONE_AFTER: Duration = Duration::from_secs(15);
const IDLE_SECONDS: u32 = 5;
const PROBE_SECONDS: u32 = 3;

/// Best effort: without these a lost peer is noticed later.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let millis = u32::try_from(GONE_AFTER.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &millis);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &IDLE_SECONDS);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &PROBE_SECONDS);
}
