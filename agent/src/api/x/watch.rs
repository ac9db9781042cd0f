//! `GET /x/stacks/{name}/watch`: the whole picture, now and whenever it has changed.
//!
//! A picture is whole, so that pictures may be skipped: changes that come together make one line,
//! and a client that reads slowly gets fewer of them, never old ones.

mod doings;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use scheduler::state::State;
use scheduler::status::{self, StackStatus};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::api::Context;
use crate::api::reply;

pub(super) use self::doings::host;
use self::doings::{Doings, Others};

/// Changes within this time make one picture.
const TOGETHER: Duration = Duration::from_millis(10);

/// How often progress of pulls is looked at while there are any.
const PULL_INTERVAL: Duration = Duration::from_millis(100);

/// How long a picture that differs by its revision only is held back.
const REVISION_INTERVAL: Duration = Duration::from_millis(250);

/// `GET /x/stacks/{name}/watch`
pub(super) fn watch(context: Arc<Context>, name: &str) -> Response<Body> {
    let (sender, response) = reply::stream("application/x-ndjson");
    tokio::spawn(tell(context, name.to_owned(), sender));
    response
}

/// The stack as it has been agreed on, and what this node is doing about it at this moment.
pub(super) async fn picture(context: &Context, state: &State, name: &str) -> StackStatus {
    let mut picture = status::of(state, name);
    let doings = Doings::here(context, state, name).await;
    doings.add_to(&mut picture);
    picture
}

async fn tell(context: Arc<Context>, name: String, sender: mpsc::Sender<Bytes>) {
    let mut states = context.watch();
    let mut troubles = context.troubles.clone();
    let mut standing = context.manager.standing();
    let mut others = Others::of(&context, &name);
    let mut told: Option<(StackStatus, Instant)> = None;
    loop {
        let state = states.borrow_and_update().clone();
        let mut picture = picture(&context, &state, &name).await;
        others.add_to(&state, &mut picture);
        let suspects = standing.borrow_and_update().suspects.clone();
        others.say_who_is_silent(&state, &suspects, &mut picture);
        drop(state);
        let now = Instant::now();
        if is_news(told.as_ref(), &picture, now) {
            if sender.send(reply::line(&picture)).await.is_err() {
                return;
            }
            told = Some((picture.clone(), now));
        }
        let wake = match &told {
            _ if !picture.leaving_networks.is_empty() => Some(now + TOGETHER),
            _ if !picture.troubles.is_empty() => Some(now + REVISION_INTERVAL),
            _ if !picture.pulls.is_empty() => Some(now + PULL_INTERVAL),
            Some((last, at)) if last.revision < picture.revision => Some(*at + REVISION_INTERVAL),
            _ => None,
        };
        tokio::select! {
            Ok(()) = troubles.changed() => {}
            () = others.changed() => {}
            Ok(()) = standing.changed() => {}
            changed = states.changed() => match changed {
                Ok(()) => tokio::time::sleep(TOGETHER).await,
                Err(_) => return,
            },
            () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            () = sender.closed() => return,
        }
    }
}

/// Whether a client that has seen `told` learns something.
fn is_news(told: Option<&(StackStatus, Instant)>, picture: &StackStatus, now: Instant) -> bool {
    let Some((last, at)) = told else {
        return true;
    };
    let same = last.leaving_networks == picture.leaving_networks
        && last.troubles == picture.troubles
        && (&last.services, &last.networks, &last.volumes, &last.pulls)
            == (
                &picture.services,
                &picture.networks,
                &picture.volumes,
                &picture.pulls,
            );
    !same || (last.revision < picture.revision && now - *at >= REVISION_INTERVAL)
}
