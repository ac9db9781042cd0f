//! Frames cut into chunks, and put together again.
//!
//!     bulk:   [ assignment, 3 MB ──────────────────────── ]
//!     urgent:          [beat]           [beat]
//!     wire:   b b b b b  u   b b b b b b  u   b b b b b B      one chunk: length · lane and end · bytes
//!
//! A frame of the urgent lane waits for one chunk of the other lane at most. Each chunk that comes is
//! a sign of life as well, so that nobody looks dead while he is busy sending.

use thiserror::Error;

use super::frame::Lane;

/// Bytes of a frame in one chunk: 13 ms on a line of 10 Mbit/s.
pub const CHUNK: usize = 16 * 1024;
/// Bytes before each chunk.
pub const HEADER: usize = 5;
/// The largest frame: an assignment of thousands of containers with their secrets.
pub const LARGEST: usize = 64 * 1024 * 1024;

const BULK: u8 = 1;
const LAST: u8 = 2;

/// Why what came cannot be a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    #[error("a chunk of {length} bytes")]
    Length { length: usize },
    #[error("a chunk of an unknown kind ({flags})")]
    Kind { flags: u8 },
    #[error("a frame of more than {LARGEST} bytes")]
    TooLarge,
}

/// What a chunk's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    flags: u8,
}

impl Header {
    /// # Errors
    ///
    /// Returns [`ChunkError`] for what no [`Cutter`] has made.
    pub fn read(bytes: [u8; HEADER]) -> Result<Self, ChunkError> {
        let [a, b, c, d, flags] = bytes;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > CHUNK {
            return Err(ChunkError::Length { length });
        }
        if flags & !(BULK | LAST) != 0 {
            return Err(ChunkError::Kind { flags });
        }
        Ok(Self { length, flags })
    }
}

/// Frames that are on their way out: one for each lane.
#[derive(Debug, Default)]
pub struct Cutter {
    urgent: Rest,
    bulk: Rest,
}

#[derive(Debug, Default)]
struct Rest {
    frame: Vec<u8>,
    sent: usize,
    busy: bool,
}

impl Cutter {
    /// Whether the lane can take another frame.
    pub fn is_free(&self, lane: Lane) -> bool {
        match lane {
            Lane::Urgent => !self.urgent.busy,
            Lane::Bulk => !self.bulk.busy,
        }
    }

    /// Begins with a frame; the lane must be free, or what it held is lost.
    ///
    /// # Errors
    ///
    /// Returns [`ChunkError::TooLarge`], and begins nothing.
    pub fn begin(&mut self, lane: Lane, frame: Vec<u8>) -> Result<(), ChunkError> {
        if frame.len() > LARGEST {
            return Err(ChunkError::TooLarge);
        }
        let rest = Rest {
            frame,
            sent: 0,
            busy: true,
        };
        match lane {
            Lane::Urgent => self.urgent = rest,
            Lane::Bulk => self.bulk = rest,
        }
        Ok(())
    }

    /// The next chunk with its header; `None` when nothing is left.
    pub fn cut(&mut self) -> Option<Vec<u8>> {
        let urgent = self.urgent.busy;
        let (rest, lane) = match urgent {
            true => (&mut self.urgent, 0),
            false if self.bulk.busy => (&mut self.bulk, BULK),
            false => return None,
        };
        let end = rest.frame.len().min(rest.sent + CHUNK);
        let bytes = rest.frame.get(rest.sent..end).unwrap_or_default();
        let last = if end == rest.frame.len() { LAST } else { 0 };
        let mut chunk = Vec::with_capacity(HEADER + bytes.len());
        // At most CHUNK, by the line above.
        chunk.extend(u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        chunk.push(lane | last);
        chunk.extend_from_slice(bytes);
        rest.sent = end;
        if last == LAST {
            *rest = Rest::default();
        }
        Some(chunk)
    }
}

/// Puts chunks together again.
#[derive(Debug, Default)]
pub struct Assembler {
    urgent: Vec<u8>,
    bulk: Vec<u8>,
}

impl Assembler {
    /// Takes a chunk; gives the frame that it completes.
    ///
    /// # Errors
    ///
    /// Returns [`ChunkError::TooLarge`] for a frame that nobody may send.
    pub fn push(&mut self, header: Header, bytes: &[u8]) -> Result<Option<Vec<u8>>, ChunkError> {
        let frame = match header.flags & BULK {
            0 => &mut self.urgent,
            _ => &mut self.bulk,
        };
        if frame.len() + bytes.len() > LARGEST {
            return Err(ChunkError::TooLarge);
        }
        frame.extend_from_slice(bytes);
        if header.flags & LAST == 0 {
            return Ok(None);
        }
        Ok(Some(std::mem::take(frame)))
    }
}

#[cfg(test)]
mod tests;
