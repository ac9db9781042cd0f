//! Opens compressed streams by their first bytes, in this process: gzip, zstd, or none.
//!
//! What a stream claims to be (media types, file names) is not asked. No helper program is ever
//! run (CVE-2019-14271). Memory is bounded: a zstd window may have 128 MiB, as `zstd -d` allows.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const BUFFER: usize = 256 * 1024;
/// Buffers between the thread that decompresses and the one that uses the content.
const READ_AHEAD: usize = 8;

/// The uncompressed content of a stream.
///
/// # Errors
///
/// When reading fails, and for the formats that Docker reads and we do not: bzip2 and xz.
pub(crate) fn decompress<'a>(
    mut reader: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    // A pipe may give the first bytes one by one; six decide.
    let mut magic = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut magic)?;
    let kind = Format::of(&magic)?;
    let reader = BufReader::with_capacity(BUFFER, io::Cursor::new(magic).chain(reader));
    Ok(match kind {
        Format::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Format::Zstd => Box::new(Zstd::new(reader)),
        Format::Plain => Box::new(reader),
    })
}

enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    fn of(magic: &[u8]) -> io::Result<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // The second form begins a frame without content.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => Err(unsupported("bzip2")),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(unsupported("xz")),
            _ => Ok(Self::Plain),
        }
    }
}

fn unsupported(format: &str) -> io::Error {
    let text = format!("{format} compression is not supported, use gzip, zstd or none");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// All frames of a zstd stream, one after the other.
struct Zstd<R> {
    reader: R,
    decoder: FrameDecoder,
    state: FrameState,
}

enum FrameState {
    Between,
    Inside,
}

impl<R: BufRead> Zstd<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            decoder: FrameDecoder::new(),
            state: FrameState::Between,
        }
    }

    /// Begins the next frame, over those that carry no content; false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.reader.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.reader) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(
                        &mut (&mut self.reader).take(u64::from(length)),
                        &mut io::sink(),
                    )?;
                }
                Err(error) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        error.to_string(),
                    ));
                }
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                FrameState::Between => match self.begin()? {
                    true => self.state = FrameState::Inside,
                    false => return Ok(0),
                },
                FrameState::Inside if self.decoder.can_collect() > 0 => {
                    return self.decoder.read(buffer);
                }
                FrameState::Inside if self.decoder.is_finished() => {
                    self.state = FrameState::Between
                }
                FrameState::Inside => {
                    let step = BlockDecodingStrategy::UptoBlocks(1);
                    let decoded = self.decoder.decode_blocks(&mut self.reader, step);
                    decoded.map_err(|error| {
                        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                    })?;
                }
            }
        }
    }
}

/// Reads ahead in a second thread of `scope`, so that decompressing and writing go side by side.
pub(crate) fn read_ahead<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    mut reader: Box<dyn Read + Send + 'scope>,
) -> impl Read + 'scope {
    let (sender, receiver): (SyncSender<io::Result<Vec<u8>>>, _) = sync_channel(READ_AHEAD);
    scope.spawn(move || {
        loop {
            let mut buffer = vec![0; BUFFER];
            let outcome = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => {
                    buffer.truncate(read);
                    Ok(buffer)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = outcome.is_err();
            // Nobody listens any more when the user of the content has failed.
            if sender.send(outcome).is_err() || failed {
                return;
            }
        }
    });
    Ahead {
        receiver,
        buffer: Vec::new(),
        at: 0,
    }
}

struct Ahead {
    receiver: Receiver<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            match self.receiver.recv() {
                Ok(next) => (self.buffer, self.at) = (next?, 0),
                Err(_) => return Ok(0),
            }
        }
        let length = out.len().min(self.buffer.len() - self.at);
        out[..length].copy_from_slice(&self.buffer[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[track_caller]
    fn check(compressed: &[u8], expected: &[u8]) {
        let mut content = Vec::new();
        decompress(compressed)
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert!(content == expected);
        let mut ahead = Vec::new();
        let reader = decompress(compressed).unwrap();
        thread::scope(|scope| read_ahead(scope, reader).read_to_end(&mut ahead)).unwrap();
        assert!(ahead == expected);
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_format_gives_the_same_content() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        check(&content, &content);
        check(&gzip(&content), &content);
        check(&zstd(&content), &content);
        check(b"", b"");
        check(b"x", b"x");
    }

    #[test]
    fn streams_of_several_members_are_read_to_the_end() {
        check(&[gzip(b"one"), gzip(b"two")].concat(), b"onetwo");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        check(&[skippable, zstd(b"one"), zstd(b"two")].concat(), b"onetwo");
    }

    #[test]
    fn damaged_and_unknown_streams_are_errors() {
        let read =
            |bytes: &[u8]| decompress(bytes).and_then(|mut r| r.read_to_end(&mut Vec::new()));
        let cut = gzip(&[7; 100_000]);
        assert!(read(&cut[..cut.len() - 9]).is_err());
        let cut = zstd(&[7; 100_000]);
        assert!(read(&cut[..cut.len() - 3]).is_err());
        assert!(
            read(b"BZh91AY")
                .unwrap_err()
                .to_string()
                .starts_with("bzip2 compression is not supported")
        );
        assert!(read(b"\xfd7zXZ\0").is_err());
    }
}
