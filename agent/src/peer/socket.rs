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

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[tokio::test]
    async fn a_connection_whose_other_side_is_silent_ends_within_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        tune(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        assert_eq!(
            getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(),
            15_000
        );
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 5);
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepInterval).unwrap(), 3);
    }
}
