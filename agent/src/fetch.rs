//! Fetches images for whoever wants one: by pull policy, with the credentials that were given for
//! a deploy or else those of this machine's user, and with what is under way open to view.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scheduler::model::container::PullPolicy;
use scheduler::status::PullStatus;

use crate::image::{
    Credentials, ErrorKind, Event, Image, ImageError, Images, LayerState, Platform, Progress,
    ProgressReader, PullOptions, Reference,
};

pub struct Fetcher {
    images: Arc<Images>,
    pulls: Mutex<BTreeMap<String, Progress>>,
    /// Registry to what a deploy gave for it; kept in memory only.
    credentials: Mutex<BTreeMap<String, Credentials>>,
}

impl Fetcher {
    pub fn new(images: Arc<Images>) -> Self {
        Self {
            images,
            pulls: Mutex::default(),
            credentials: Mutex::default(),
        }
    }

    /// Remembers what to show to a registry from now on.
    pub fn login(&self, registry: &str, credentials: Credentials) {
        lock(&self.credentials).insert(registry.to_owned(), credentials);
    }

    /// Finds an image, and fetches it when the policy says so.
    ///
    /// # Errors
    ///
    /// With `Never`, and when the registry has not got it either: [`ErrorKind::NotFound`].
    pub async fn fetch(
        &self,
        image: &str,
        policy: PullPolicy,
        platform: Option<&Platform>,
    ) -> Result<Arc<Image>, ImageError> {
        let here = self.images.resolve(image);
        match (policy, here) {
            (PullPolicy::Missing | PullPolicy::Never, Ok(image)) => Ok(image),
            (PullPolicy::Never, Err(error)) => Err(error),
            (PullPolicy::Missing, Err(error)) if error.kind() != ErrorKind::NotFound => Err(error),
            (PullPolicy::Missing | PullPolicy::Always, _) => self.pull(image, platform).await,
        }
    }

    async fn pull(
        &self,
        image: &str,
        platform: Option<&Platform>,
    ) -> Result<Arc<Image>, ImageError> {
        let reference: Reference = image.parse()?;
        let options = PullOptions {
            platform: platform.cloned(),
            credentials: self.credentials(reference.registry()).await?,
        };
        let progress = Progress::new();
        let _shown = Shown::new(self, image, progress.clone());
        self.images.pull(&reference, options, &progress).await
    }

    async fn credentials(&self, registry: &str) -> Result<Credentials, ImageError> {
        if let Some(credentials) = lock(&self.credentials).get(registry) {
            return Ok(credentials.clone());
        }
        let registry = registry.to_owned();
        let found =
            tokio::task::spawn_blocking(move || Credentials::from_docker_config(&registry)).await;
        // A panic in there is the library's; nobody's credentials is a sound answer to it.
        Ok(found.unwrap_or(Ok(Credentials::Anonymous))?)
    }

    /// What is under way: image names, and a reader of each one's progress.
    pub fn under_way(&self) -> Vec<(String, ProgressReader)> {
        lock(&self.pulls)
            .iter()
            .map(|(image, progress)| (image.clone(), progress.reader()))
            .collect()
    }

    /// How far each pull has come.
    pub async fn status(&self) -> Vec<PullStatus> {
        let mut all = Vec::new();
        for (image, mut reader) in self.under_way() {
            let events =
                tokio::time::timeout(std::time::Duration::from_millis(1), reader.next()).await;
            all.push(summarize(image, events.ok().flatten().unwrap_or_default()));
        }
        all
    }
}

/// Sums a pull up from the present state of its layers.
fn summarize(image: String, events: Vec<Event>) -> PullStatus {
    let mut status = PullStatus {
        image,
        ..PullStatus::default()
    };
    for event in events {
        let Event::Layer { id, state } = event else {
            continue;
        };
        let (text, bytes) = match state {
            LayerState::Waiting => ("Waiting".to_owned(), None),
            LayerState::AlreadyExists => ("Already exists".to_owned(), None),
            LayerState::Downloading { current, total } => {
                ("Downloading".to_owned(), Some((current, total)))
            }
            LayerState::Retrying { after } => (format!("Retrying in {} s", after.as_secs()), None),
            LayerState::Verifying => ("Verifying Checksum".to_owned(), None),
            LayerState::Downloaded => ("Download complete".to_owned(), None),
            LayerState::Extracting { current, total } => {
                ("Extracting".to_owned(), Some((current, total)))
            }
            LayerState::Complete => ("Pull complete".to_owned(), None),
        };
        if let Some((current, total)) = bytes {
            status.current += current;
            status.total += total;
        }
        status.layers.insert(id, text);
    }
    status
}

/// Shows a pull for as long as it lasts, also when it is given up half-way.
struct Shown<'a> {
    fetcher: &'a Fetcher,
    image: String,
}

impl<'a> Shown<'a> {
    fn new(fetcher: &'a Fetcher, image: &str, progress: Progress) -> Self {
        lock(&fetcher.pulls).insert(image.to_owned(), progress);
        Self {
            fetcher,
            image: image.to_owned(),
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        lock(&self.fetcher.pulls).remove(&self.image);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
