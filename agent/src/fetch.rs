//! Fetches images for whoever wants one: by pull policy, with the credentials that came with the
//! stack or else those of this machine's user, and with what is under way open to view.
//!
//!     pinned:      here? ──► the other nodes ([`supply`](crate::supply)) ──► its registry, by digest
//!     not pinned:  here? ──► its registry, by name
//!
//! An image is pinned when the manager that took the deploy knew what its name means: then all
//! nodes get the same bytes, and no policy makes a node ask what the name means by now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scheduler::model::container::{ContainerSpec, PullPolicy};
use scheduler::model::image::ImagePin;
use scheduler::status::PullStatus;

use crate::image::{
    Credentials, ErrorKind, Event, Image, ImageError, Images, LayerState, LookedUp, Platform,
    Progress, ProgressReader, PullOptions, Reference,
};
use crate::supply::{Supply, SupplyError};

pub struct Fetcher {
    images: Arc<Images>,
    supply: Arc<Supply>,
    pulls: Mutex<BTreeMap<String, Progress>>,
    /// Registry to what a `run` gave for it, whose container is on this node; kept in memory only.
    credentials: Mutex<BTreeMap<String, Credentials>>,
}

/// Which image is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    pub image: &'a str,
    /// This host's when absent.
    pub platform: Option<&'a Platform>,
    pub policy: PullPolicy,
    pub pin: Option<&'a ImagePin>,
    /// What to show to its registry; what was given for a `run`, or what this machine's user has,
    /// when absent.
    pub login: Option<&'a Credentials>,
}

impl<'a> Wish<'a> {
    /// What a container needs; its platform has been parsed.
    pub fn of(spec: &'a ContainerSpec, platform: Option<&'a Platform>) -> Self {
        Self {
            image: &spec.image,
            platform,
            policy: spec.pull_policy,
            pin: spec.pin.as_ref(),
            login: None,
        }
    }
}

impl Fetcher {
    pub fn new(images: Arc<Images>, supply: Arc<Supply>) -> Self {
        Self {
            images,
            supply,
            pulls: Mutex::default(),
            credentials: Mutex::default(),
        }
    }

    /// The way to the images of the other nodes.
    pub fn supply(&self) -> &Arc<Supply> {
        &self.supply
    }

    /// Remembers what to show to a registry from now on.
    pub fn login(&self, registry: &str, credentials: Credentials) {
        lock(&self.credentials).insert(registry.to_owned(), credentials);
    }

    /// Finds an image, and fetches it when the policy says so.
    ///
    /// # Errors
    ///
    /// With `Never`, and when nobody else has got it either: [`ErrorKind::NotFound`].
    pub async fn fetch(&self, wish: Wish<'_>) -> Result<Arc<Image>, ImageError> {
        if let Some(pin) = wish.pin {
            return self.fetch_pinned(wish, pin).await;
        }
        let here = self.images.resolve(wish.image);
        match (wish.policy, here) {
            (PullPolicy::Missing | PullPolicy::Never, Ok(image)) => Ok(image),
            (PullPolicy::Every(interval), Ok(image)) if !is_older(&image, interval) => Ok(image),
            (PullPolicy::Never, Err(error)) => Err(error),
            (PullPolicy::Missing | PullPolicy::Every(_), Err(error))
                if error.kind() != ErrorKind::NotFound =>
            {
                Err(error)
            }
            (PullPolicy::Always | PullPolicy::Every(_), _) => self.pull(wish, None).await,
            (PullPolicy::Missing, _) => {
                let pulled = self.pull(wish, None).await;
                pulled.map_err(|error| match self.supply.is_in_cluster() {
                    false => error,
                    true => ImageError::Nowhere {
                        neighbours: format!("no manager had {} when it was deployed", wish.image),
                        source: Box::new(error),
                    },
                })
            }
        }
    }

    /// Asks a registry what a name means, and fetches nothing.
    ///
    /// # Errors
    ///
    /// As [`Images::look_up`].
    pub async fn look_up(&self, wish: Wish<'_>) -> Result<LookedUp, ImageError> {
        let reference: Reference = wish.image.parse()?;
        let options = self.options(&reference, wish).await?;
        self.images.look_up(&reference, &options).await
    }

    async fn fetch_pinned(&self, wish: Wish<'_>, pin: &ImagePin) -> Result<Arc<Image>, ImageError> {
        let name: Reference = wish.image.parse()?;
        let digest = pin.digest.as_deref().and_then(|it| it.parse().ok());
        let given_out = digest.map(|digest| name.with_digest(digest));
        if let Ok(image) = self.images.resolve(&pin.id) {
            return Ok(image);
        }
        // For another platform than the manager's it has another id.
        if let Some(image) = given_out
            .as_ref()
            .and_then(|it| self.images.resolve(&it.canonical()).ok())
        {
            return Ok(image);
        }
        let neighbours = match self.take(wish, pin, &name).await? {
            Ok(image) => return Ok(image),
            Err(neighbours) => neighbours,
        };
        if wish.policy == PullPolicy::Never {
            let neighbours = neighbours.unwrap_or_else(|| format!("this host has no {name}"));
            return Err(ImageError::NeverPulled { neighbours });
        }
        let pulled = self.pull(wish, Some((pin, given_out.as_ref()))).await;
        match (pulled, neighbours) {
            (Err(error), Some(neighbours)) => Err(ImageError::Nowhere {
                neighbours,
                source: Box::new(error),
            }),
            (pulled, _) => pulled,
        }
    }

    /// From the other nodes; or else why not, if there are any.
    async fn take(
        &self,
        wish: Wish<'_>,
        pin: &ImagePin,
        name: &Reference,
    ) -> Result<Result<Arc<Image>, Option<String>>, ImageError> {
        if !self.supply.is_in_cluster() {
            return Ok(Err(None));
        }
        let progress = Progress::new();
        let _shown = Shown::new(self, wish.image, progress.clone());
        let host = Platform::host();
        let platform = wish.platform.unwrap_or(&host);
        match self.supply.take(pin, name, platform, &progress).await {
            Ok(image) => Ok(Ok(image)),
            Err(SupplyError::Image(error @ ImageError::Store(_))) => Err(error),
            Err(error) => Ok(Err(Some(error.to_string()))),
        }
    }

    /// By name; or, where it is pinned, by digest, or by name if that is still the same image.
    async fn pull(
        &self,
        wish: Wish<'_>,
        pinned: Option<(&ImagePin, Option<&Reference>)>,
    ) -> Result<Arc<Image>, ImageError> {
        let name: Reference = wish.image.parse()?;
        let mut options = self.options(&name, wish).await?;
        let given_out = pinned.and_then(|(_, given_out)| given_out);
        if let Some((pin, None)) = pinned {
            options.expected = pin.id.parse().ok();
        }
        let progress = Progress::new();
        let _shown = Shown::new(self, wish.image, progress.clone());
        let reference = given_out.unwrap_or(&name);
        let image = self.images.pull(reference, options, &progress).await?;
        match (given_out, name.tag()) {
            (Some(given_out), Some(_)) => self.images.tag(&given_out.canonical(), &name).await,
            _ => Ok(image),
        }
    }

    async fn options(
        &self,
        reference: &Reference,
        wish: Wish<'_>,
    ) -> Result<PullOptions, ImageError> {
        let credentials = match wish.login {
            Some(login) => login.clone(),
            None => self.credentials(reference.registry()).await?,
        };
        Ok(PullOptions {
            platform: wish.platform.cloned(),
            credentials,
            expected: None,
        })
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

/// Whether so much time has passed since it was fetched.
pub fn is_older(image: &Image, interval: Duration) -> bool {
    let fetched = UNIX_EPOCH + Duration::from_secs(image.updated);
    // A clock that was set back makes it no older.
    SystemTime::now()
        .duration_since(fetched)
        .is_ok_and(|age| age >= interval)
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
