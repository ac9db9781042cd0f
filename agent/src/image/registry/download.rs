//! Downloads one blob to a file, hashing on the way, and goes on where it was cut off.

use std::io::Write;

use tempfile::{NamedTempFile, TempPath};

use super::super::digest::Hashing;
use super::super::manifest::Descriptor;
use super::super::store::{Store, failed};
use super::{CONTENT_RANGE, Failure, Registry, RegistryError, Response, StatusCode, Wanted};

/// After so many new bytes a connection was good, and attempts are counted anew.
const PROGRESS: u64 = 1 << 20;

/// What an onlooker hears.
pub(crate) enum Download {
    Bytes(u64),
    Waiting(std::time::Duration),
}

/// A blob that is partly there.
struct Partial {
    file: Hashing<NamedTempFile>,
}

impl Registry {
    /// Downloads a blob; the file that is returned has the digest and the size that were asked for.
    pub(crate) async fn download(
        &self,
        blob: &Descriptor,
        store: &Store,
        mut tell: impl FnMut(Download),
    ) -> Result<TempPath, RegistryError> {
        let mut partial = Partial {
            file: Hashing::new(store.temporary()?),
        };
        let mut attempt = 1;
        loop {
            let before = partial.file.length();
            let Err(failure) = self
                .download_once(blob, store, &mut partial, &mut tell)
                .await
            else {
                break;
            };
            if partial.file.length() >= before + PROGRESS {
                attempt = 1;
            }
            if !failure.is_worth_another_try(attempt) {
                return Err(failure.error);
            }
            let wait = self.wait(attempt, failure.retry_after);
            tracing::debug!(blob = %blob.digest, error = %failure.error, ?wait, "download is tried again");
            tell(Download::Waiting(wait));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
        let (found, _, file) = partial.file.finish();
        match found == blob.digest {
            true => Ok(file.into_temp_path()),
            false => Err(RegistryError::Digest {
                what: format!("blob {}", blob.digest),
                expected: blob.digest,
                found,
            }),
        }
    }

    async fn download_once(
        &self,
        blob: &Descriptor,
        store: &Store,
        partial: &mut Partial,
        tell: &mut impl FnMut(Download),
    ) -> Result<(), Failure> {
        let have = partial.file.length();
        if have == blob.size && have > 0 {
            return Ok(());
        }
        let from = (have > 0).then_some(have);
        let mut response = self
            .get(
                &format!("blobs/{}", blob.digest),
                from,
                Wanted::Blob(blob.digest),
            )
            .await?;
        if have > 0 && !continues(&response, have) {
            // It sends all of it again.
            partial.file = Hashing::new(store.temporary().map_err(RegistryError::from)?);
        }
        if let Some(length) = response.content_length() {
            self.check_length(blob, partial.file.length() + length, LengthOf::Announced)?;
        }
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.broken(super::chain(&error)))?
        {
            self.check_length(
                blob,
                partial.file.length() + chunk.len() as u64,
                LengthOf::Received,
            )?;
            let path = store.blob_path(&blob.digest);
            let written = partial.file.write_all(&chunk);
            written.map_err(|error| RegistryError::from(failed("write", &path, error)))?;
            tell(Download::Bytes(partial.file.length()));
        }
        match partial.file.length() {
            found if found == blob.size => Ok(()),
            _ => Err(self.broken("the content ended early".to_owned())),
        }
    }

    fn check_length(
        &self,
        blob: &Descriptor,
        found: u64,
        of: LengthOf,
    ) -> Result<(), RegistryError> {
        let wrong = match of {
            LengthOf::Announced => found != blob.size,
            LengthOf::Received => found > blob.size,
        };
        let what = || format!("blob {}", blob.digest);
        match wrong {
            true => Err(RegistryError::Length {
                what: what(),
                expected: blob.size,
                found,
            }),
            false => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum LengthOf {
    Announced,
    Received,
}

/// Whether an answer goes on after `have` bytes.
fn continues(response: &Response, have: u64) -> bool {
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}
