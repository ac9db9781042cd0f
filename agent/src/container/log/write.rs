//! Writes a container's output to its log files.
//!
//!     read(pipe) ─ 64 KiB ─► cut into lines ─► time and stream before each ─► one write(2)
//!                              └ an unfinished line waits for its end, at most 16 KiB of it
//!
//! The files together never grow beyond the limit: before an entry that would not fit, the files
//! are given their next names and a new one is begun.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use scheduler::model::time::Timestamp;

use super::{MAX_PART, Part, Stream, TEXT_AT, files, format_time};
use crate::container::LogFiles;

/// Smaller limits would leave no room for text.
const MIN_FILE: u64 = 1024;

/// What is gathered before it is written; many short lines grow to several times what was read.
const BUFFER: usize = 256 * 1024;

/// Writes the log of one container. There must be one writer at a time.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    max_size: u64,
    max_files: u32,
    /// `None` after a rotation went wrong half-way.
    file: Option<File>,
    /// Bytes in the current file.
    size: u64,
    /// The file ends in the middle of a line: the machine or the disk failed while writing.
    torn: bool,
    buffer: Vec<u8>,
    prefix: Prefix,
    /// Unfinished lines of standard output and standard error.
    unfinished: [Vec<u8>; 2],
}

/// What stands before the text of an entry: `TIME stdout F `.
#[derive(Debug, Default)]
struct Prefix {
    at: Option<Timestamp>,
    text: Vec<u8>,
}

impl LogWriter {
    /// Opens the current file `path`, at its end; it is made, readable by its owner alone, when it
    /// is not there.
    ///
    /// Limits below 1 KiB a file, and above 256 files, are taken for these.
    ///
    /// # Errors
    ///
    /// Returns the error of open(2), fstat(2) or pread(2).
    pub fn open(path: &Path, limits: &LogFiles) -> io::Result<Self> {
        let mut writer = Self {
            path: path.to_owned(),
            max_size: limits.max_size.max(MIN_FILE),
            max_files: limits.max_files.clamp(1, files::MAX_FILES),
            file: None,
            size: 0,
            torn: false,
            buffer: Vec::new(),
            prefix: Prefix::default(),
            unfinished: [Vec::new(), Vec::new()],
        };
        writer.reopen()?;
        Ok(writer)
    }

    /// Writes what one read(2) from the container brought, with one write(2).
    ///
    /// An unfinished line is kept until its end comes, or 16 KiB of it have, or [`Self::finish`].
    ///
    /// # Errors
    ///
    /// Returns the error of the file system; what could not be written is lost, and the next call
    /// tries again with what it is given.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], at: Timestamp) -> io::Result<()> {
        self.prefix.set_time(at);
        let result = self.add_lines(stream, bytes).and_then(|()| self.flush());
        self.buffer.clear();
        result
    }

    /// Writes what unfinished lines there are. Call it when a stream, or the container, has ended.
    pub fn finish(&mut self, at: Timestamp) -> io::Result<()> {
        self.prefix.set_time(at);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                self.add_entry(stream, Part::Begun, &rest)?;
            }
        }
        let result = self.flush();
        self.buffer.clear();
        result
    }

    fn add_lines(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut behind = rest;
            let length = behind.skip_until(b'\n')?;
            match rest[..length].strip_suffix(b"\n") {
                Some(line) => self.add_text(stream, line, Part::End)?,
                None => self.add_text(stream, &rest[..length], Part::Begun)?,
            }
            rest = behind;
        }
        Ok(())
    }

    fn add_text(&mut self, stream: Stream, mut text: &[u8], part: Part) -> io::Result<()> {
        let max_part = self.max_part();
        let waiting = self.unfinished[stream as usize].len();
        if waiting == 0 && part == Part::End && text.len() <= max_part {
            return self.add_entry(stream, part, text);
        }
        // Taken out while entries are added, and put back with its memory.
        let mut line = std::mem::take(&mut self.unfinished[stream as usize]);
        while line.len() + text.len() > max_part {
            let (now, later) = text.split_at(max_part - line.len());
            line.extend_from_slice(now);
            self.add_entry(stream, Part::Begun, &line)?;
            line.clear();
            text = later;
        }
        line.extend_from_slice(text);
        if part == Part::End {
            self.add_entry(stream, Part::End, &line)?;
            line.clear();
        }
        self.unfinished[stream as usize] = line;
        Ok(())
    }

    fn max_part(&self) -> usize {
        let room = usize::try_from(self.max_size).unwrap_or(usize::MAX) - TEXT_AT - 1;
        room.min(MAX_PART)
    }

    fn add_entry(&mut self, stream: Stream, part: Part, text: &[u8]) -> io::Result<()> {
        let length = TEXT_AT + text.len() + 1;
        let torn = usize::from(self.torn);
        if self.size + (self.buffer.len() + length + torn) as u64 > self.max_size {
            self.flush()?;
            self.rotate()?;
        } else if self.buffer.len() + length > BUFFER {
            self.flush()?;
        }
        self.buffer
            .extend_from_slice(self.prefix.text(stream, part));
        self.buffer.extend_from_slice(text);
        self.buffer.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.torn {
            self.buffer.insert(0, b'\n');
            self.torn = false;
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let written = file.write_all(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        if written.is_err() {
            // How much of it is there, only the file knows.
            self.size = file.metadata().map_or(self.size, |metadata| metadata.len());
            self.torn = true;
        }
        written
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.size == 0 {
            return Ok(());
        }
        self.file = None;
        files::shift(&self.path, self.max_files)?;
        self.reopen()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        self.size = file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(before_end) = self.size.checked_sub(1) {
            file.read_exact_at(&mut last, before_end)?;
        }
        self.torn = last != *b"\n";
        self.file = Some(file);
        Ok(())
    }
}

impl Prefix {
    fn set_time(&mut self, at: Timestamp) {
        if self.at != Some(at) {
            self.at = Some(at);
            self.text.clear();
            self.text.extend_from_slice(format_time(at).as_bytes());
            self.text.extend_from_slice(b" stdout F ");
        }
    }

    fn text(&mut self, stream: Stream, part: Part) -> &[u8] {
        let (name, tag) = self.text.split_at_mut(super::TAG_AT);
        name[super::TIME_LEN + 1..][..6].copy_from_slice(stream.as_str().as_bytes());
        tag[0] = match part {
            Part::End => b'F',
            Part::Begun => b'P',
        };
        &self.text
    }
}

#[cfg(test)]
mod tests;
