//! The frames in which a stream without a terminal carries standard output and standard error:
//! a byte that says which, three zeros, the length as four bytes in network order, then the bytes.
//!
//! Source: Docker Engine API, "Attach to a container", stream format.

use axum::body::Bytes;

/// Which stream the bytes of a frame belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout = 1,
    Stderr = 2,
    /// An error of the engine itself.
    System = 3,
}

/// How the bytes of a container travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are: the container has a terminal.
    Raw,
    Framed,
}

impl Encoding {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Raw => "application/vnd.docker.raw-stream",
            Self::Framed => "application/vnd.docker.multiplexed-stream",
        }
    }

    /// Wraps the bytes of one read; at most 4 GiB, which no read returns.
    pub(crate) fn encode(self, channel: Channel, payload: &[u8]) -> Bytes {
        match self {
            Self::Raw => Bytes::copy_from_slice(payload),
            Self::Framed => {
                let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                let mut frame = Vec::with_capacity(8 + payload.len());
                frame.extend_from_slice(&[channel as u8, 0, 0, 0]);
                frame.extend_from_slice(&length.to_be_bytes());
                frame.extend_from_slice(payload);
                Bytes::from(frame)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_what_docker_sends() {
        assert_eq!(
            Encoding::Framed.encode(Channel::Stdout, b"hi\n").as_ref(),
            b"\x01\0\0\0\0\0\0\x03hi\n"
        );
        assert_eq!(
            Encoding::Framed.encode(Channel::Stderr, b"").as_ref(),
            b"\x02\0\0\0\0\0\0\0"
        );
        assert_eq!(Encoding::Raw.encode(Channel::Stdout, b"hi").as_ref(), b"hi");
    }
}
