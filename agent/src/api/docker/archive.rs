//! Files in and out of containers: not there yet, and saying so.

use super::lookup;
use crate::api::Context;
use crate::api::error::EngineError;
use crate::api::reply::Answer;

/// `GET`, `HEAD`, `PUT /containers/{id}/archive`, `GET …/changes`, `GET …/export`
pub(in crate::api) fn archive(context: &Context, id: &str) -> Answer {
    lookup::container(&context.state(), id)?;
    Err(EngineError::NotImplemented(
        "copying files in and out of containers is not supported by wharfie yet; use a bind mount or `exec` with `tar`".into(),
    ))
}
