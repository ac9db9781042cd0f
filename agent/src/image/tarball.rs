//! Reads a tar stream entry by entry, with one meaning for each archive or none.
//!
//! The header fields are the `tar` crate's business; stepping from header to header is done here,
//! because the crate keeps extension headers of any size in memory, and because an archive that two
//! readers understand differently must be refused rather than guessed at (CVE-2025-62518):
//!
//! * the size of a PAX header always counts, for the content and for the step over it alike;
//! * two different long names for one entry, sparse files, links with content, a name with a NUL,
//!   and a broken checksum are errors.
//!
//! Sources: POSIX.1-2017, "pax", "pax Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::collections::BTreeMap;
use std::io::{self, Read};

use tar::{EntryType, Header};
use thiserror::Error;

const BLOCK: usize = 512;
/// Most bytes of one extension header: names, and extended attributes of 64 KiB each.
const MAX_EXTENSION: u64 = 1 << 20;
/// Linux' PATH_MAX.
const MAX_NAME: usize = 4096;

/// One member of an archive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// As in the archive: it may be absolute, have `..`, or not be UTF-8.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since the Unix epoch.
    pub(crate) modified: (i64, u32),
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    HardLink { target: Vec<u8> },
    Fifo,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// Why a stream is not a tar archive that may be used.
#[derive(Debug, Error)]
pub(crate) enum TarError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("the archive ends in the middle of `{name}`")]
    Truncated { name: String },
    #[error("the archive has a damaged header after `{after}`")]
    Header { after: String },
    #[error("the archive's entry `{name}` has {what}, which is not supported")]
    Unsupported { name: String, what: &'static str },
    #[error("the archive's entry `{name}` can be read in two ways: {what}")]
    Ambiguous { name: String, what: &'static str },
    #[error("the archive's entry `{name}` has a name or extension longer than allowed")]
    TooLong { name: String },
}

/// Reads entries one after the other; the content of each is read, or skipped, before the next.
pub(crate) struct Tarball<R> {
    reader: R,
    /// Content and padding of the current entry that were not read yet.
    content: u64,
    padding: u64,
    /// The last name, for errors.
    name: String,
}

/// What extension headers say of the entry that follows.
#[derive(Default)]
struct Extensions {
    pax: BTreeMap<String, Vec<u8>>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Tarball<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            content: 0,
            padding: 0,
            name: String::new(),
        }
    }

    /// The next entry; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            match header.entry_type() {
                EntryType::XHeader => {
                    let text = self.extension(&header)?;
                    self.pax(&text, &mut extensions)?;
                }
                EntryType::XGlobalHeader => self.global(&header)?,
                EntryType::GNULongName => extensions.long_name = Some(self.long(&header)?),
                EntryType::GNULongLink => extensions.long_link = Some(self.long(&header)?),
                kind => return self.entry(&header, kind, extensions).map(Some),
            }
        }
    }

    /// Reads the rest of the stream, which belongs to the content that is hashed.
    pub(crate) fn drain(mut self) -> Result<R, TarError> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(TarError::Read)?;
        Ok(self.reader)
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        mut from: Extensions,
    ) -> Result<Entry, TarError> {
        let name = self.pick(
            header.path_bytes().into_owned(),
            from.pax.remove("path"),
            from.long_name.take(),
        )?;
        self.name = String::from_utf8_lossy(&name).into_owned();
        let link = header
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default();
        let target = self.pick(link, from.pax.remove("linkpath"), from.long_link.take())?;
        let size = match from.pax.get("size") {
            Some(text) => self.decimal(text)?,
            None => self.field(&header.as_old().size, header.entry_size())?,
        };
        let kind = self.kind(header, kind, name.ends_with(b"/"), target, size)?;
        if let Kind::File { size } = kind {
            self.content = size;
            self.padding = padding(size);
        }
        let old = header.as_old();
        let number = |key: &str, bytes: &[u8], field: io::Result<u64>| match from.pax.get(key) {
            Some(text) => self.decimal(text),
            None => self.field(bytes, field),
        };
        Ok(Entry {
            mode: u32::try_from(self.field(&old.mode, header.mode().map(u64::from))? & 0o7777)
                .unwrap_or(0),
            uid: number("uid", &old.uid, header.uid())?,
            gid: number("gid", &old.gid, header.gid())?,
            // A clock before 1970 is not worth refusing an image.
            modified: from
                .pax
                .get("mtime")
                .and_then(|text| seconds(text))
                .unwrap_or_else(|| (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0)),
            xattrs: from.xattrs,
            name,
            kind,
        })
    }

    fn kind(
        &self,
        header: &Header,
        kind: EntryType,
        slash: bool,
        target: Vec<u8>,
        size: u64,
    ) -> Result<Kind, TarError> {
        let device = || {
            let major = header.device_major().ok().flatten();
            let minor = header.device_minor().ok().flatten();
            major.zip(minor).ok_or_else(|| self.damaged())
        };
        let kind = match kind {
            // Before POSIX, a directory was a file whose name ends in a slash.
            EntryType::Regular | EntryType::Continuous if slash && size == 0 => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File { size },
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink { target },
            EntryType::Link => Kind::HardLink { target },
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
            EntryType::Block => {
                device().map(|(major, minor)| Kind::BlockDevice { major, minor })?
            }
            EntryType::GNUSparse => return Err(self.unsupported("sparse content")),
            _ => return Err(self.unsupported("an unknown type")),
        };
        match kind {
            Kind::File { .. } => Ok(kind),
            _ if size == 0 => Ok(kind),
            _ => Err(self.ambiguous("its type has no content, yet a size is given")),
        }
    }

    /// The one name that an entry has.
    fn pick(
        &self,
        short: Vec<u8>,
        pax: Option<Vec<u8>>,
        gnu: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, TarError> {
        let name = match (pax, gnu) {
            (Some(pax), Some(gnu)) if pax != gnu => {
                return Err(self.ambiguous("it has two long names"));
            }
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => short,
        };
        if name.contains(&0) {
            return Err(self.ambiguous("a name has a NUL"));
        }
        match name.len() > MAX_NAME {
            true => Err(TarError::TooLong {
                name: String::from_utf8_lossy(&name[..64]).into_owned(),
            }),
            false => Ok(name),
        }
    }

    /// A 512-byte header; `None` for the end: a block of zeros, or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let mut filled = 0;
        let block = header.as_mut_bytes();
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The sum of all bytes, with the field itself as spaces.
        let sum: u32 = block[..148]
            .iter()
            .chain(&block[156..])
            .map(|byte| u32::from(*byte))
            .sum();
        match header.cksum() {
            Ok(expected) if expected == sum + 8 * 32 => Ok(Some(header)),
            Ok(_) | Err(_) => Err(self.damaged()),
        }
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let size = header.entry_size().map_err(|_| self.damaged())?;
        if size > MAX_EXTENSION {
            return Err(TarError::TooLong {
                name: self.name.clone(),
            });
        }
        let mut text = Vec::new();
        let read = (&mut self.reader)
            .take(size)
            .read_to_end(&mut text)
            .map_err(TarError::Read)?;
        if (read as u64) < size {
            return Err(self.truncated());
        }
        self.padding = padding(size);
        Ok(text)
    }

    /// GNU's long names end in a NUL.
    fn long(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    /// Global headers carry comments; one that would rename or resize what follows is refused.
    fn global(&mut self, header: &Header) -> Result<(), TarError> {
        let text = self.extension(header)?;
        let mut all = Extensions::default();
        self.pax(&text, &mut all)?;
        match ["path", "linkpath", "size", "uid", "gid"]
            .iter()
            .any(|key| all.pax.contains_key(*key))
        {
            true => Err(self.unsupported("a global header with names or sizes")),
            false => Ok(()),
        }
    }

    /// Records of the form `27 mtime=1700000000.25\n`, the length being that of the whole record.
    fn pax(&self, mut text: &[u8], into: &mut Extensions) -> Result<(), TarError> {
        while !text.is_empty() {
            let space = text
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(|| self.damaged())?;
            let length =
                usize::try_from(self.decimal(&text[..space])?).map_err(|_| self.damaged())?;
            let record = text
                .get(space + 1..length)
                .and_then(|record| record.strip_suffix(b"\n"));
            let record = record.ok_or_else(|| self.damaged())?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(|| self.damaged())?;
            let (key, value) = (&record[..equals], record[equals + 1..].to_vec());
            if key.starts_with(b"GNU.sparse.") {
                return Err(self.unsupported("sparse content"));
            }
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                into.xattrs.insert(name.to_vec(), value);
            } else if let Ok(key) = std::str::from_utf8(key) {
                into.pax.insert(key.to_owned(), value);
            }
            text = &text[length..];
        }
        Ok(())
    }

    /// A number of the header; a blank one is 0, as for Go and GNU tar.
    fn field(&self, bytes: &[u8], parsed: io::Result<u64>) -> Result<u64, TarError> {
        match parsed {
            Err(_) if bytes.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
            other => other.map_err(|_| self.damaged()),
        }
    }

    fn decimal(&self, text: &[u8]) -> Result<u64, TarError> {
        let digits = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| self.damaged())
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        let left = self.content + self.padding;
        let skipped = io::copy(&mut (&mut self.reader).take(left), &mut io::sink())
            .map_err(TarError::Read)?;
        (self.content, self.padding) = (0, 0);
        match skipped == left {
            true => Ok(()),
            false => Err(self.truncated()),
        }
    }

    fn damaged(&self) -> TarError {
        TarError::Header {
            after: self.name.clone(),
        }
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated {
            name: self.name.clone(),
        }
    }

    fn unsupported(&self, what: &'static str) -> TarError {
        TarError::Unsupported {
            name: self.name.clone(),
            what,
        }
    }

    fn ambiguous(&self, what: &'static str) -> TarError {
        TarError::Ambiguous {
            name: self.name.clone(),
            what,
        }
    }
}

/// Reads the content of the current entry.
impl<R: Read> Read for Tarball<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                self.truncated(),
            ));
        }
        self.content -= read as u64;
        Ok(read)
    }
}

/// Content is filled up to whole blocks.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// `1700000000.25`; fractions are cut to nanoseconds.
fn seconds(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanos: String = fraction
        .chars()
        .chain(std::iter::repeat('0'))
        .take(9)
        .collect();
    Some((whole.parse().ok()?, nanos.parse().ok()?))
}

#[cfg(test)]
mod tests;
