//! `/x/cluster…` and `/x/nodes…`: entering, leaving, and who is there.
//!
//! | request | body → answer |
//! |---|---|
//! | `GET /x/cluster` | → [`ClusterInfo`] |
//! | `POST /x/cluster/init` | [`InitRequest`] → [`Tokens`] |
//! | `POST /x/cluster/join` | [`JoinRequest`] → [`Joined`](crate::cluster::Joined); the node starts again |
//! | `POST /x/cluster/leave` | [`LeaveRequest`] → nothing; the node starts again |
//! | `POST /x/cluster/recover` | → nothing; the node starts again |
//! | `POST /x/cluster/tokens` | [`TokensRequest`] → [`Tokens`] |
//! | `GET /x/cluster/ca` | → [`AuthorityView`](rotation::AuthorityView) |
//! | `POST /x/cluster/ca` | [`RotateRequest`] → [`AuthorityView`](rotation::AuthorityView) |
//! | `POST /x/cluster/settings` | [`ClusterUpdate`] → nothing |
//! | `GET /x/nodes`, `GET /x/nodes/{node}` | → [`NodeView`]s |
//! | `GET /x/nodes/{node}/tasks` | → [`TaskView`]s |
//! | `POST /x/nodes/{node}` | [`NodeUpdate`] → [`NodeView`] |
//! | `DELETE /x/nodes/{node}?force=1` | → [`NodeRemoved`] |

use axum::http::StatusCode;
use scheduler::control_plane::command::{ClusterUpdate, Command, Force, NodeUpdate, Reply};
use scheduler::control_plane::find_node;
use scheduler::model::node::Role;
use serde::{Deserialize, Serialize};

use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::cluster::info::{self, ClusterInfo, NodeView, TaskView};
use crate::cluster::rotation::{self, RotateRequest};
use crate::cluster::{self, ClusterError, InitRequest, JoinRequest, Tokens};
use crate::identity::{IdentityError, digest_of_pem, new_secret};

/// `POST /x/cluster/leave`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaveRequest {
    pub force: Force,
}

/// `POST /x/cluster/tokens`
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokensRequest {
    /// The old token of this role lets nobody in any more.
    pub rotate: Option<Role>,
}

/// What went with a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRemoved {
    pub id: String,
    /// Named volumes whose data was there: what uses them next begins with empty ones.
    pub volumes: Vec<String>,
}

pub(super) async fn route(
    context: &Context,
    mut call: Call,
    method: &str,
    path: &[&str],
) -> Answer {
    match (method, path) {
        ("GET", ["cluster"]) => reply::json(&overview(context)),
        ("POST", ["cluster", "init"]) => init(context, call).await,
        ("POST", ["cluster", "join"]) => join(context, call).await,
        ("POST", ["cluster", "leave"]) => leave(context, call).await,
        ("POST", ["cluster", "recover"]) => {
            context.membership.recover()?;
            reply::empty(StatusCode::NO_CONTENT)
        }
        ("POST", ["cluster", "tokens"]) => tokens(context, call).await,
        ("GET", ["cluster", "ca"]) => authority(context),
        ("POST", ["cluster", "ca"]) => {
            let request: RotateRequest = call.json().await?;
            as_cluster(context)?;
            rotation::rotate(&context.manager, &request).await?;
            authority(context)
        }
        ("POST", ["cluster", "settings"]) => {
            let update: ClusterUpdate = call.json().await?;
            as_cluster(context)?;
            context.command(Command::UpdateCluster { update }).await?;
            reply::empty(StatusCode::NO_CONTENT)
        }
        ("GET", ["nodes"]) => reply::json(&nodes(context)?),
        ("GET", ["nodes", name]) => reply::json(&one(context, name)?),
        ("GET", ["nodes", name, "tasks"]) => reply::json(&tasks(context, name)?),
        ("POST", ["nodes", name]) => update(context, call, name).await,
        ("DELETE", ["nodes", name]) => remove(context, &call, name).await,
        _ => Err(EngineError::NoRoute),
    }
}

/// What a worker cannot say, a manager must be asked for.
pub(super) fn as_manager(context: &Context) -> Result<(), EngineError> {
    match context.membership.role() {
        Some(Role::Worker) => Err(context.membership.ask_a_manager().into()),
        Some(Role::Manager) | None => Ok(()),
    }
}

/// The same, and there must be a cluster.
fn as_cluster(context: &Context) -> Result<(), EngineError> {
    as_manager(context)?;
    match context.membership.role() {
        Some(_) => Ok(()),
        None => Err(ClusterError::NoMember.into()),
    }
}

fn overview(context: &Context) -> ClusterInfo {
    let membership = &context.membership;
    let identity = membership.identities().borrow().clone();
    let mut overview = ClusterInfo {
        node: context.node.to_string(),
        role: membership.role(),
        address: membership.address(),
        ..ClusterInfo::default()
    };
    if let Some(identity) = identity {
        overview.id = identity.facts.cluster.clone();
        overview.certificate_expires = time::rfc3339(system_time(identity.facts.not_after));
    }
    let known = membership.managers().into_iter().map(|it| it.address);
    overview.managers = known.collect();
    if overview.role != Some(Role::Manager) {
        return overview;
    }
    let state = context.state();
    if let Some(cluster) = &state.cluster {
        overview.epoch = cluster.epoch;
        overview.created = time::rfc3339(cluster.created);
        overview.authority = digest_of_pem(&cluster.certificate_authority.certificate);
    }
    let standing = context.manager.standing().borrow().clone();
    let views = info::nodes(&state, &standing, &context.node);
    let leads = |view: &&NodeView| view.manager == Some(info::ManagerStatus::Leader);
    overview.leader = views
        .iter()
        .find(leads)
        .map(|it| it.hostname.clone())
        .unwrap_or_default();
    let managers = views.iter().filter(|view| view.role == Role::Manager);
    overview.managers = managers.clone().filter_map(|view| view.address).collect();
    overview.manager_count = Some(managers.count());
    overview.node_count = Some(views.len());
    overview.warning = info::warning(&state, &standing);
    overview
}

async fn init(context: &Context, mut call: Call) -> Answer {
    let request: InitRequest = call.json().await?;
    let tokens = context.membership.init(&context.manager, &request).await?;
    reply::json_with(StatusCode::CREATED, &tokens)
}

async fn join(context: &Context, mut call: Call) -> Answer {
    let request: JoinRequest = call.json().await?;
    let joined = context.membership.join(&context.manager, &request).await?;
    reply::json(&joined)
}

async fn leave(context: &Context, mut call: Call) -> Answer {
    let request: LeaveRequest = call.json().await?;
    let membership = &context.membership;
    let manager = match membership.role() {
        Some(Role::Manager) => Some(&context.manager),
        _ => None,
    };
    membership.leave(manager, request.force).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

async fn tokens(context: &Context, mut call: Call) -> Answer {
    let request: TokensRequest = call.json().await?;
    as_cluster(context)?;
    if let Some(role) = request.rotate {
        let secret = new_secret();
        context
            .command(Command::RotateToken { role, secret })
            .await?;
    }
    let state = context.state();
    let Some(cluster) = &state.cluster else {
        return Err(ClusterError::NoMember.into());
    };
    let own = context.membership.address();
    let others = state.nodes.values();
    let others = others.filter(|row| row.role == Role::Manager && row.address != own);
    let mut addresses: Vec<_> = own.into_iter().collect();
    addresses.extend(others.filter_map(|row| row.address));
    let tokens: Tokens = cluster::tokens(cluster, addresses)?;
    reply::json(&tokens)
}

fn authority(context: &Context) -> Answer {
    as_cluster(context)?;
    let view = rotation::view(&context.state()).ok_or(ClusterError::NoMember)?;
    reply::json(&view)
}

fn nodes(context: &Context) -> Result<Vec<NodeView>, EngineError> {
    as_manager(context)?;
    let standing = context.manager.standing().borrow().clone();
    Ok(info::nodes(&context.state(), &standing, &context.node))
}

/// `self` is the node that was asked.
fn one(context: &Context, name: &str) -> Result<NodeView, EngineError> {
    as_manager(context)?;
    let name = own(context, name);
    let standing = context.manager.standing().borrow().clone();
    let state = context.state();
    let row = find_node(&state, name)?;
    Ok(info::node(&state, &standing, &context.node, row))
}

fn tasks(context: &Context, name: &str) -> Result<Vec<TaskView>, EngineError> {
    as_manager(context)?;
    let state = context.state();
    let row = find_node(&state, own(context, name))?;
    Ok(info::tasks(&state, row))
}

fn own<'a>(context: &'a Context, name: &'a str) -> &'a str {
    match name {
        "self" => context.node.as_str(),
        name => name,
    }
}

async fn update(context: &Context, mut call: Call, name: &str) -> Answer {
    let update: NodeUpdate = call.json().await?;
    as_manager(context)?;
    let node = own(context, name).to_owned();
    if update.role == Some(Role::Manager) {
        as_cluster(context)?;
    }
    context
        .command(Command::UpdateNode { node, update })
        .await?;
    reply::json(&one(context, name)?)
}

async fn remove(context: &Context, call: &Call, name: &str) -> Answer {
    as_cluster(context)?;
    let force = match call.params.flag("force") {
        true => Force::Yes,
        false => Force::No,
    };
    let node = own(context, name).to_owned();
    if find_node(&context.state(), &node)?.id == context.node {
        return Err(EngineError::Conflict(
            "this is the node that was asked: let it go with `wharfie leave`".into(),
        ));
    }
    let answer = context.command(Command::RemoveNode { node, force }).await?;
    match answer.reply {
        Reply::NodeRemoved { id, volumes } => reply::json(&NodeRemoved {
            id: id.to_string(),
            volumes,
        }),
        _ => reply::json(&NodeRemoved::default()),
    }
}

fn system_time(time: std::time::SystemTime) -> scheduler::model::time::Timestamp {
    let since = time.duration_since(std::time::UNIX_EPOCH);
    let nanos = since.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX));
    scheduler::model::time::Timestamp::from_nanos(nanos)
}

impl From<ClusterError> for EngineError {
    fn from(error: ClusterError) -> Self {
        if let ClusterError::Refused(refusal) = error {
            return Self::Refused(refusal);
        }
        let status = match &error {
            ClusterError::Address { .. }
            | ClusterError::Ambiguous { .. }
            | ClusterError::NoCandidate
            | ClusterError::NoAddress
            | ClusterError::HalfAuthority
            | ClusterError::Identity(IdentityError::Certificate { .. } | IdentityError::Key)
            | ClusterError::Token(_) => StatusCode::BAD_REQUEST,
            ClusterError::Worker { .. }
            | ClusterError::NoMember
            | ClusterError::AlreadyMember { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ClusterError::Busy { .. } | ClusterError::Peer(_) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = error.hint();
        Self::Hinted {
            status,
            message: crate::api::error::chain(&error),
            hint,
        }
    }
}
