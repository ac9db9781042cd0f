//! What a Docker engine without plugins answers.

use serde_json::json;

use crate::api::reply::{self, Answer};

/// `GET /plugins`
pub(in crate::api) fn plugins() -> Answer {
    reply::json(&json!([]))
}
