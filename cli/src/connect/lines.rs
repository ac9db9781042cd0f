//! An answer that never ends, cut into lines.

use std::marker::PhantomData;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ApiError;

/// Gathers bytes until a line is complete.
#[derive(Debug, Default)]
pub(crate) struct ByteLines {
    pending: Vec<u8>,
}

impl ByteLines {
    /// Takes the next bytes and returns the lines that they complete, without their ends.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.pending.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let mut line: Vec<u8> = self.pending.drain(..=end).collect();
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            lines.push(line);
        }
        lines
    }

    /// What has no line end, when nothing will follow.
    pub(crate) fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.pending.is_empty()).then(|| std::mem::take(&mut self.pending))
    }
}

/// JSON values, one a line.
pub(crate) struct JsonLines<T> {
    path: String,
    body: Incoming,
    lines: ByteLines,
    ready: std::collections::VecDeque<Vec<u8>>,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(super) fn new(path: &str, body: Incoming) -> Self {
        Self {
            path: path.to_owned(),
            body,
            lines: ByteLines::default(),
            ready: std::collections::VecDeque::new(),
            kind: PhantomData,
        }
    }

    /// The next value; `None` when the node has ended the answer. Nothing is lost when it is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<T>, ApiError> {
        loop {
            while let Some(line) = self.ready.pop_front() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let value = serde_json::from_slice(&line);
                return value.map(Some).map_err(|source| ApiError::Answer {
                    path: self.path.clone(),
                    source,
                });
            }
            match self.body.frame().await.transpose()? {
                Some(frame) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.ready.extend(self.lines.push(bytes));
                    }
                }
                None => match self.lines.finish() {
                    Some(line) => self.ready.push_back(line),
                    None => return Ok(None),
                },
            }
        }
    }
}
