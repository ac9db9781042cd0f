//! Takes an image from the nodes that have it.
//!
//!     neighbours ─► who has it (a few at a time, until some do) ─► take ──► here
//!         ▲                                                          │
//!         └───────────── all busy, or all have gone ◄────────────────┘

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::header::{HeaderValue, RANGE};
use hyper::{Request, StatusCode};
use scheduler::model::image::ImagePin;
use tokio::time::Instant;

use super::{Supply, SupplyError, serve};
use crate::image::{
    Digest, Holders, Image, ImageError, ImageId, Missed, Offer, Pieces, Platform, Progress,
    Reference, TakeError,
};
use crate::peer::{PeerAddress, Peers};

/// Nodes that are asked at a time whether they have it.
const AT_A_TIME: usize = 8;
/// So many that have it are enough.
const ENOUGH: usize = 4;
/// Whoever has it says so by then.
const ANSWER: Duration = Duration::from_secs(5);
/// So often it is looked for anew after all that had it have failed.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// Nobody stands in the queue for longer.
const QUEUE_LIMIT: Duration = Duration::from_secs(600);

/// The nodes that have one image, by number.
struct Sources {
    peers: Peers,
    image: ImageId,
    nodes: Vec<PeerAddress>,
}

/// What was found out about who has an image.
#[derive(Default)]
struct Found {
    nodes: Vec<PeerAddress>,
    offers: Vec<Offer>,
    /// Why another one did not say.
    reason: Option<String>,
}

impl Supply {
    /// Brings an image here from the nodes that have it, under the name that it was deployed by.
    ///
    /// # Errors
    ///
    /// Returns [`SupplyError`] when no node has it or could give it; another try may go better.
    pub async fn take(
        &self,
        pin: &ImagePin,
        name: &Reference,
        platform: &Platform,
        progress: &Progress,
    ) -> Result<Arc<Image>, SupplyError> {
        let nobody = || SupplyError::Nobody {
            image: name.to_string(),
        };
        let id: ImageId = pin.id.parse().map_err(|_| nobody())?;
        let queued_until = Instant::now() + QUEUE_LIMIT;
        let mut round = 1;
        loop {
            let neighbours = self.neighbours(&pin.id).await?;
            let found = self.look(neighbours, &id).await;
            if found.nodes.is_empty() {
                return Err(match found.reason {
                    None => nobody(),
                    Some(reason) => not_given(name, reason),
                });
            }
            let sources = Sources {
                peers: self.membership.peers().clone(),
                image: id,
                nodes: found.nodes,
            };
            let from = (found.offers.as_slice(), &sources);
            let names = names(name, pin);
            match self.images.take(&id, names, platform, from, progress).await {
                Ok(image) => return Ok(image),
                Err(ImageError::Take(TakeError::Busy)) if Instant::now() < queued_until => {}
                Err(ImageError::Take(error)) if round == ROUNDS => {
                    return Err(not_given(name, error.to_string()));
                }
                Err(ImageError::Take(error)) => {
                    tracing::debug!(image = %name, %error, "looking for another node that has it");
                    round += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks until some have it, the likely ones first.
    async fn look(&self, neighbours: Vec<PeerAddress>, id: &ImageId) -> Found {
        let answers = neighbours.into_iter().map(async |node| {
            let offer = offer(self.membership.peers(), &node, id).await;
            (node, offer)
        });
        let mut answers = Box::pin(futures::stream::iter(answers).buffered(AT_A_TIME));
        let mut found = Found::default();
        while let Some((node, answer)) = answers.next().await {
            match answer {
                Ok(Some(offer)) => {
                    found.nodes.push(node);
                    found.offers.push(offer);
                }
                Ok(None) => {}
                Err(reason) => {
                    tracing::debug!(node = %node.node, reason, "a node does not say what it has");
                    found.reason = Some(reason);
                }
            }
            if found.nodes.len() >= ENOUGH {
                break;
            }
        }
        found
    }
}

fn not_given(name: &Reference, reason: String) -> SupplyError {
    SupplyError::NotGiven {
        image: name.to_string(),
        reason,
    }
}

/// The name that it was deployed by, and the one that it has in its registry.
fn names(name: &Reference, pin: &ImagePin) -> Vec<Reference> {
    let tag = name.tag().and_then(|tag| name.with_tag(tag).ok());
    let digest = pin.digest.as_deref().and_then(|it| it.parse().ok());
    let digest = digest.map(|digest| name.with_digest(digest));
    tag.into_iter().chain(digest).collect()
}

/// What a node has of an image; `None` when it has it not.
async fn offer(peers: &Peers, node: &PeerAddress, id: &ImageId) -> Result<Option<Offer>, String> {
    let request = get(format!("{}{}", serve::PATH, id.hex()));
    let exchange = async {
        let response = peers.request_within(node, request, ANSWER).await;
        let response = response.map_err(|error| error.to_string())?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(format!("{} answered {status}", node.address)),
        }
        let body = Limited::new(response.into_body(), Offer::LONGEST).collect();
        let body = body.await.map_err(|error| error.to_string())?.to_bytes();
        let offer = Offer::parse(&body, id).map_err(|error| error.to_string())?;
        Ok(Some(offer))
    };
    let answer = tokio::time::timeout(ANSWER, exchange).await;
    answer.unwrap_or_else(|_| Err(format!("{} did not answer in time", node.address)))
}

fn get(path: String) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    // Of hex digits and slashes: it can always be parsed.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

impl Holders for Sources {
    async fn read(&self, holder: usize, blob: Digest, from: u64) -> Result<Pieces, Missed> {
        let lost = |reason: String| Missed::Lost(reason);
        let Some(node) = self.nodes.get(holder) else {
            return Err(lost("there is no such node".to_owned()));
        };
        let path = format!("{}{}/{}", serve::PATH, self.image.hex(), blob.hex());
        let mut request = get(path);
        if from > 0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={from}-"))
        {
            request.headers_mut().insert(RANGE, range);
        }
        let response = self.peers.request_within(node, request, ANSWER).await;
        let response = response.map_err(|error| lost(error.to_string()))?;
        match response.status() {
            StatusCode::OK => {
                let pieces = Body::new(response.into_body()).into_data_stream();
                Ok(Box::pin(
                    pieces.map(|piece| piece.map_err(std::io::Error::other)),
                ))
            }
            StatusCode::SERVICE_UNAVAILABLE => Err(Missed::Busy),
            status => Err(lost(format!("{} answered {status}", node.address))),
        }
    }
}
