//! Secrets and configs that a person made, and those that stacks brought: what `external: true`
//! refers to. A secret's bytes are never given back.
//!
//! Swarm knows them by identifiers; here their names are unique, and the identifier is made of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scheduler::control_plane::Command;
use scheduler::model::stack::{ContentSpec, StoredContent};
use scheduler::state::State;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;

/// Swarm's limits.
const MOST_BYTES_OF_SECRET: usize = 500 << 10;
const MOST_BYTES_OF_CONFIG: usize = 1000 << 10;
/// Characters of Swarm's identifiers.
const ID_LENGTH: usize = 25;

/// Which of the two a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Kind {
    Secret,
    Config,
}

/// `/secrets` and `/configs`, with what follows.
pub(in crate::api) async fn route(
    context: &Context,
    call: Call,
    method: &str,
    kind: Kind,
    path: &[&str],
) -> Answer {
    match (method, path) {
        ("GET", []) => list(context, &call, kind),
        ("POST", ["create"]) => create(context, call, kind).await,
        ("GET", [name]) => inspect(context, kind, name),
        ("DELETE", [name]) => delete(context, kind, name).await,
        ("POST", [_, "update"]) => Err(EngineError::NotImplemented(format!(
            "a {} is not changed: remove it and create it again",
            kind.word()
        ))),
        _ => Err(EngineError::NoRoute),
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    fn all(self, state: &State) -> impl Iterator<Item = &Arc<StoredContent>> {
        match self {
            Self::Secret => state.secrets.values(),
            Self::Config => state.configs.values(),
        }
    }

    fn id(self, name: &str) -> String {
        let digest = Sha256::digest(format!("{} {name}", self.word()));
        let mut id = hex::encode(digest);
        id.truncate(ID_LENGTH);
        id
    }

    /// By name, by identifier, or by the beginning of one that is the only one of its kind.
    fn find(self, state: &State, wanted: &str) -> Result<Arc<StoredContent>, EngineError> {
        if let Some(found) = self.all(state).find(|it| it.spec.name == wanted) {
            return Ok(found.clone());
        }
        let mut found = self
            .all(state)
            .filter(|it| self.id(&it.spec.name).starts_with(wanted));
        match (found.next(), found.next()) {
            (Some(content), None) => Ok(content.clone()),
            (Some(_), Some(_)) => Err(EngineError::Ambiguous(wanted.to_owned())),
            (None, _) => Err(EngineError::NotFound(format!(
                "{} {wanted} not found",
                self.word()
            ))),
        }
    }

    fn describe(self, content: &StoredContent) -> Value {
        let spec = &content.spec;
        let at = time::rfc3339(content.created_at);
        let mut described = json!({
            "ID": self.id(&spec.name),
            "Version": { "Index": 1 },
            "CreatedAt": at,
            "UpdatedAt": at,
            "Spec": { "Name": spec.name, "Labels": spec.labels },
        });
        if let (Self::Config, Some(bytes)) = (self, &spec.content) {
            described["Spec"]["Data"] = STANDARD.encode(bytes).into();
        }
        described
    }
}

fn list(context: &Context, call: &Call, kind: Kind) -> Answer {
    let filters = Filters::read(&call.params, &["id", "label", "name", "names"])?;
    let names = filters.names()?;
    let state = context.state();
    let shown: Vec<Value> = kind
        .all(&state)
        .filter(|it| names.pass(&it.spec.name) && filters.labels(&it.spec.labels))
        .filter(|it| filters.any("id", |id| kind.id(&it.spec.name).starts_with(id)))
        .filter(|it| filters.any("names", |name| it.spec.name == name))
        .map(|it| kind.describe(it))
        .collect();
    reply::json(&shown)
}

fn inspect(context: &Context, kind: Kind, wanted: &str) -> Answer {
    let found = kind.find(&context.state(), wanted)?;
    reply::json(&kind.describe(&found))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateBody {
    name: String,
    labels: BTreeMap<String, String>,
    data: String,
    driver: Option<Value>,
    templating: Option<Value>,
}

async fn create(context: &Context, mut call: Call, kind: Kind) -> Answer {
    let body: CreateBody = call.json().await?;
    let word = kind.word();
    if body.driver.is_some() || body.templating.is_some() {
        let text = format!("{word} drivers and templates are not supported");
        return Err(EngineError::NotImplemented(text));
    }
    check_name(word, &body.name)?;
    let content = STANDARD
        .decode(body.data.as_bytes())
        .map_err(|error| bad(format!("the data of {word} {}: {error}", body.name)))?;
    let most = match kind {
        Kind::Secret => MOST_BYTES_OF_SECRET,
        Kind::Config => MOST_BYTES_OF_CONFIG,
    };
    if content.len() > most {
        return Err(bad(format!(
            "{word} {} is larger than {most} bytes",
            body.name
        )));
    }
    let id = kind.id(&body.name);
    let spec = ContentSpec {
        name: body.name,
        labels: body.labels,
        external: false,
        content: Some(content),
    };
    context
        .command(match kind {
            Kind::Secret => Command::CreateSecret { spec },
            Kind::Config => Command::CreateConfig { spec },
        })
        .await?;
    reply::json_with(StatusCode::CREATED, &json!({ "ID": id }))
}

/// Source: swarmkit `manager/controlapi/secret.go`, `validateSecretSpec`.
fn check_name(word: &str, name: &str) -> Result<(), EngineError> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let good = bytes.len() <= 64
        && bytes.iter().copied().all(inner)
        && ends(bytes.first())
        && ends(bytes.last());
    match good {
        true => Ok(()),
        false => Err(bad(format!(
            "`{name}` is no name for a {word}: only letters, digits and -_. within, and 64 of them at most"
        ))),
    }
}

async fn delete(context: &Context, kind: Kind, wanted: &str) -> Answer {
    let name = kind.find(&context.state(), wanted)?.spec.name.clone();
    context
        .command(match kind {
            Kind::Secret => Command::RemoveSecret { name },
            Kind::Config => Command::RemoveConfig { name },
        })
        .await?;
    reply::empty(StatusCode::NO_CONTENT)
}
