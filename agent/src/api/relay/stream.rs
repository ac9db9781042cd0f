//! What flows after the head of an answer, until its end, or until its node goes down.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use futures::StreamExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use scheduler::model::node::NodeStatus;
use tokio::io::{AsyncWriteExt as _, copy, split};

use super::RelayError;
use super::place::{Place, down};
use crate::api::Context;

/// Returns when the node is down, or no longer part of the cluster. A node that is frozen keeps its
/// connections: without this, whoever listens would wait for ever.
pub(super) async fn gone(context: &Context, place: &Place) -> RelayError {
    let mut states = context.watch();
    loop {
        let row = states
            .borrow_and_update()
            .nodes
            .get(&place.node.id)
            .cloned();
        match row {
            Some(row) if row.status == NodeStatus::Ready => {}
            Some(row) => return down(&row, &place.container),
            None => return down(&place.node, &place.container),
        }
        if states.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The body of an answer; it breaks off when the node goes down.
pub(super) fn body(context: Arc<Context>, place: Place, body: Incoming) -> Body {
    let pieces = Body::new(body).into_data_stream();
    let gone = Box::pin(async move { gone(&context, &place).await });
    let flow = futures::stream::unfold(Some((pieces, gone)), |flow| async {
        let (mut pieces, mut gone) = flow?;
        tokio::select! {
            piece = pieces.next() => match piece? {
                Ok(piece) => Some((Ok(piece), Some((pieces, gone)))),
                Err(error) => Some((Err(io::Error::other(error)), None)),
            },
            error = &mut gone => Some((Err(io::Error::other(error)), None)),
        }
    });
    Body::from_stream(flow)
}

/// Two connections that are no longer HTTP: what one says the other hears. The end of the client's
/// input ends the input there; the end of the output there ends everything.
pub(super) async fn join(context: Arc<Context>, place: Place, client: OnUpgrade, there: OnUpgrade) {
    let (Ok(client), Ok(there)) = tokio::join!(client, there) else {
        return;
    };
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_there, mut to_there) = split(TokioIo::new(there));
    let input = async {
        if copy(&mut from_client, &mut to_there).await.is_ok() {
            let _ = to_there.shutdown().await;
            std::future::pending::<()>().await;
        }
    };
    let output = async {
        let _ = copy(&mut from_there, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = output => {}
        () = input => {}
        _ = gone(&context, &place) => {}
    }
}
