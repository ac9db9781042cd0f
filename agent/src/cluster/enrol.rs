//! How a node gets its certificate: both ends of `/peer/join` and `/peer/renew`, and the other small
//! things that nodes ask managers for.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/peer/join` | anybody with a token, or a known key | row and certificate |
//! | `/peer/renew` | any node, for itself | another certificate, with the role of its row |
//! | `/peer/leave` | any node, for itself | its row goes, a manager's vote before |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use hyper::body::Incoming;
use hyper::{Request as HttpRequest, Response, StatusCode};
use rcgen::KeyPair;
use scheduler::control_plane::command::{Command, Force};
use scheduler::control_plane::{Refusal, Reply};
use scheduler::model::cluster::{Cluster, Secret};
use scheduler::model::id::NodeId;
use scheduler::model::node::{Availability, NodeDescription, Role};
use scheduler::raft::number_of;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::advertise::Wish;
use super::leave::Leaving;
use super::{ClusterError, Membership};
use crate::identity::{self, JoinToken, Pin, Request};
use crate::manager::ManagerHandle;
use crate::peer::{
    Caller, Guest, Handler, OpenHandler, PeerError, Refused, RoleNeeded, Router, answer, read_json,
    refuse, with_json,
};

/// A manager that votes must be reachable: it is tried before it is let in.
const TRY_LIMIT: Duration = Duration::from_secs(3);
/// A joiner is sent on to the leader at most so often.
const MOST_HOPS: usize = 3;

#[derive(Serialize, Deserialize)]
struct JoinQuestion {
    /// Absent: the key is known, only the certificate has expired.
    secret: Option<Secret>,
    node: NodeId,
    description: NodeDescription,
    address: SocketAddr,
    #[serde(default)]
    availability: Availability,
    /// Hex DER.
    request: String,
}

#[derive(Serialize, Deserialize)]
struct RenewQuestion {
    /// Hex DER.
    request: String,
}

/// A certificate, and what goes with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Enrolled {
    /// PEM.
    pub(super) certificate: String,
    pub(super) authorities: Vec<String>,
    #[serde(default)]
    pub(super) told: (u64, u64),
    pub(super) managers: Vec<(NodeId, SocketAddr)>,
    pub(super) address: SocketAddr,
}

/// Ask there: only the leader lets nodes in.
#[derive(Serialize, Deserialize)]
struct SentOn {
    leader: SocketAddr,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JoinAnswer {
    Enrolled(Enrolled),
    SentOn(SentOn),
}

#[derive(Serialize, Deserialize)]
pub(super) struct LeaveQuestion {
    pub(super) force: Force,
}

/// Who wants to come in.
pub(super) struct Newcomer<'a> {
    pub(super) node: &'a NodeId,
    pub(super) description: &'a NodeDescription,
    pub(super) wish: &'a Wish,
    pub(super) key: &'a KeyPair,
    pub(super) availability: Availability,
}

/// Asks the managers one after the other until one lets this node in, or says why it does not.
pub(super) async fn ask_to_join(
    token: &JoinToken,
    managers: &[SocketAddr],
    newcomer: &Newcomer<'_>,
) -> Result<Enrolled, ClusterError> {
    let guest = Guest::new(Pin::Digest(token.digest.clone()))?;
    ask(&guest, Some(&token.secret), managers, newcomer).await
}

/// The way back for a node whose certificate has expired while it was off: its key is known.
pub(super) async fn ask_to_return(
    membership: &Membership,
    newcomer: &Newcomer<'_>,
) -> Result<Enrolled, ClusterError> {
    let identity = membership.identities().borrow().clone();
    let identity = identity.ok_or(ClusterError::NoMember)?;
    let authorities = identity.authorities()?;
    let guest = Guest::new(Pin::Authorities(authorities))?;
    let managers = membership.managers();
    let managers: Vec<_> = managers.into_iter().map(|it| it.address).collect();
    ask(&guest, None, &managers, newcomer).await
}

async fn ask(
    guest: &Guest,
    secret: Option<&Secret>,
    managers: &[SocketAddr],
    newcomer: &Newcomer<'_>,
) -> Result<Enrolled, ClusterError> {
    let request = hex::encode(identity::request(newcomer.key)?);
    let mut tried = Vec::new();
    let mut next: Vec<SocketAddr> = managers.iter().rev().copied().collect();
    let mut hops = 0;
    while let Some(manager) = next.pop() {
        let question = |here: SocketAddr| JoinQuestion {
            secret: secret.cloned(),
            node: newcomer.node.clone(),
            description: newcomer.description.clone(),
            // Addresses that were named were checked before.
            address: newcomer.wish.choose_towards(here.ip()).unwrap_or(here),
            availability: newcomer.availability,
            request: request.clone(),
        };
        match guest.call(manager, "/peer/join", question).await {
            Ok(JoinAnswer::Enrolled(enrolled)) => return Ok(enrolled),
            Ok(JoinAnswer::SentOn(SentOn { leader })) => {
                hops += 1;
                if hops <= MOST_HOPS {
                    next.push(leader);
                }
            }
            // It has answered, and the others would answer the same.
            Err(error @ PeerError::Refused { .. }) => return Err(error.into()),
            Err(error) => tried.push(error),
        }
    }
    if tried.len() == 1
        && let Some(error) = tried.pop()
    {
        return Err(error.into());
    }
    Err(ClusterError::NobodyAnswers { tried })
}

/// Asks a manager for another certificate over the same key.
pub(super) async fn ask_to_renew(
    membership: &Membership,
    key: &KeyPair,
) -> Result<Enrolled, ClusterError> {
    let question = RenewQuestion {
        request: hex::encode(identity::request(key)?),
    };
    ask_managers(membership, "/peer/renew", &question).await
}

/// Asks one manager after the other; the first that answers decides, unless it does not lead.
pub(super) async fn ask_managers<T: DeserializeOwned>(
    membership: &Membership,
    path: &str,
    question: &impl Serialize,
) -> Result<T, ClusterError> {
    let mut tried = Vec::new();
    for manager in membership.managers() {
        match membership.peers().call(&manager, path, question).await {
            Ok(answer) => return Ok(answer),
            Err(error @ PeerError::Refused { status, .. }) if !is_elsewhere(status) => {
                return Err(error.into());
            }
            Err(error) => tried.push(error),
        }
    }
    Err(ClusterError::NobodyAnswers { tried })
}

/// It does not lead, or cannot say.
fn is_elsewhere(status: u16) -> bool {
    status == StatusCode::MISDIRECTED_REQUEST.as_u16()
        || status == StatusCode::SERVICE_UNAVAILABLE.as_u16()
}

/// What a manager answers to other nodes about belonging to the cluster.
#[must_use]
pub fn routes(router: Router, manager: &ManagerHandle) -> Router {
    let open = |manager: ManagerHandle| -> OpenHandler {
        Arc::new(move |request| {
            let manager = manager.clone();
            Box::pin(async move { join(&manager, request).await })
        })
    };
    router
        .open("/peer/join", open(manager.clone()))
        .route("/peer/renew", RoleNeeded::Member, handler(manager, renew))
        .route("/peer/leave", RoleNeeded::Member, handler(manager, leave))
}

fn handler<F>(
    manager: &ManagerHandle,
    serve: impl Fn(ManagerHandle, Caller, HttpRequest<Incoming>) -> F + Send + Sync + 'static,
) -> Handler
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let manager = manager.clone();
    Arc::new(move |caller, request| Box::pin(serve(manager.clone(), caller, request)))
}

async fn join(manager: &ManagerHandle, request: HttpRequest<Incoming>) -> Response<Body> {
    let question: JoinQuestion = match read_json(request.into_body()).await {
        Ok(question) => question,
        Err(message) => return refuse(StatusCode::BAD_REQUEST, message),
    };
    match let_in(manager, question).await {
        Ok(enrolled) => answer(&JoinAnswer::Enrolled(enrolled)),
        Err(No::Elsewhere(leader)) => answer(&JoinAnswer::SentOn(SentOn { leader })),
        Err(No::Refused(status, refused)) => with_json(status, &refused),
    }
}

/// Why somebody is not let in here.
enum No {
    Elsewhere(SocketAddr),
    Refused(StatusCode, Refused),
}

fn no(status: StatusCode, message: impl Into<String>) -> No {
    let message = message.into();
    No::Refused(
        status,
        Refused {
            message,
            hint: None,
        },
    )
}

async fn let_in(manager: &ManagerHandle, question: JoinQuestion) -> Result<Enrolled, No> {
    let state = manager.state();
    let (cluster, version) = (state.cluster.clone(), state.version);
    let cluster = cluster.ok_or_else(|| no(StatusCode::CONFLICT, "this host is no cluster yet"))?;
    let request = parse(&question.request)?;
    let public_key = request.public_key();
    let known = state.nodes.get(&question.node);
    let known = known.filter(|row| row.public_key == public_key);
    let role = match &question.secret {
        Some(secret) => cluster.role_of(secret).ok_or_else(|| {
            let message = "the join token is not valid; it may have been rotated";
            no(StatusCode::FORBIDDEN, message)
        })?,
        None => known.map(|row| row.role).ok_or_else(|| {
            let message = "this node is not known here; join with a token";
            no(StatusCode::FORBIDDEN, message)
        })?,
    };
    if role == Role::Manager {
        let address = question.address;
        let tried = tokio::time::timeout(TRY_LIMIT, TcpStream::connect(address)).await;
        if !matches!(tried, Ok(Ok(_))) {
            let message = format!("the new manager cannot be reached at {address} from here");
            return Err(no(StatusCode::BAD_REQUEST, message));
        }
    }
    let node = question.node.clone();
    let address = question.address;
    let command = Command::JoinNode {
        node: question.node,
        description: question.description,
        role,
        address,
        public_key,
        availability: question.availability,
    };
    carry_out(manager, command).await?;
    // A follower may not have heard of the row yet; then it is what was asked for.
    let state = manager.state();
    let role = state.nodes.get(&node).map_or(role, |row| row.role);
    // What may be older than the state that the cluster was read from is told again later.
    enrol(
        manager,
        (&cluster, version),
        request,
        &node,
        (role, address),
    )
}

async fn renew(
    manager: ManagerHandle,
    caller: Caller,
    request: HttpRequest<Incoming>,
) -> Response<Body> {
    let renewed = async {
        let question: RenewQuestion = read_json(request.into_body())
            .await
            .map_err(|message| no(StatusCode::BAD_REQUEST, message))?;
        let request = parse(&question.request)?;
        let state = manager.state();
        let (Some(cluster), Some(row)) = (&state.cluster, state.nodes.get(&caller.node)) else {
            let message = "this manager does not know the node yet";
            return Err(no(StatusCode::SERVICE_UNAVAILABLE, message));
        };
        if !row.public_key.is_empty() && row.public_key != request.public_key() {
            return Err(no(StatusCode::FORBIDDEN, "the node has another key"));
        }
        let members = manager.standing().borrow().members.clone();
        if row.role == Role::Worker && members.contains(number_of(&caller.node)) {
            let message = "the node still takes part in the managers' decisions";
            return Err(no(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        let address = row.address.unwrap_or(NOWHERE);
        enrol(
            &manager,
            (cluster, state.version),
            request,
            &caller.node,
            (row.role, address),
        )
    };
    match renewed.await {
        Ok(enrolled) => answer(&enrolled),
        Err(refused) => told(refused),
    }
}

async fn leave(
    manager: ManagerHandle,
    caller: Caller,
    request: HttpRequest<Incoming>,
) -> Response<Body> {
    let question: Result<LeaveQuestion, _> = read_json(request.into_body()).await;
    let Ok(LeaveQuestion { force }) = question else {
        return refuse(StatusCode::BAD_REQUEST, "the body is not what it should be");
    };
    let node = caller.node;
    match carry_out(&manager, Command::LeaveCluster { node, force }).await {
        Ok(reply) => answer(&Leaving::from(reply)),
        Err(refused) => told(refused),
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    crate::peer::DEFAULT_PORT,
);

fn told(refused: No) -> Response<Body> {
    match refused {
        No::Elsewhere(leader) => {
            let message = format!("the manager at {leader} leads");
            refuse(StatusCode::MISDIRECTED_REQUEST, message)
        }
        No::Refused(status, refused) => with_json(status, &refused),
    }
}

fn parse(request: &str) -> Result<Request, No> {
    let unreadable = || {
        no(
            StatusCode::BAD_REQUEST,
            "the certificate request is damaged",
        )
    };
    let der = hex::decode(request).map_err(|_| unreadable())?;
    Request::parse(&der).map_err(|_| unreadable())
}

async fn carry_out(manager: &ManagerHandle, command: Command) -> Result<Reply, No> {
    let refusal = match manager.command(command).await {
        Ok(answer) => return Ok(answer.reply),
        Err(refusal) => refusal,
    };
    if let Refusal::NotLeader {
        leader: Some(leader),
    } = &refusal
        && let Some(address) = manager.state().nodes.get(leader).and_then(|it| it.address)
    {
        return Err(No::Elsewhere(address));
    }
    let status = match refusal {
        Refusal::NotLeader { .. }
        | Refusal::NoMajority
        | Refusal::Stale
        | Refusal::Unsettled
        | Refusal::NoRoom { .. }
        | Refusal::Stopped { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::CONFLICT,
    };
    let (message, hint) = (refusal.to_string(), refusal.hint());
    Err(No::Refused(status, Refused { message, hint }))
}

fn enrol(
    manager: &ManagerHandle,
    (cluster, version): (&Cluster, u64),
    request: Request,
    node: &NodeId,
    (role, address): (Role, SocketAddr),
) -> Result<Enrolled, No> {
    let times = (SystemTime::now(), cluster.settings.certificate_validity());
    let authority = &cluster.certificate_authority;
    let signed = identity::sign(authority, request, node, role, &cluster.id, times);
    let certificate = signed.map_err(|error| {
        tracing::error!(%error, "a certificate could not be signed");
        no(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the certificate could not be signed",
        )
    })?;
    Ok(Enrolled {
        certificate,
        authorities: cluster.certificate_authority.trusted(),
        told: (cluster.epoch, version),
        managers: managers(&manager.state()),
        address,
    })
}

/// The managers with an address, in the order of their ids.
pub(super) fn managers(state: &scheduler::state::State) -> Vec<(NodeId, SocketAddr)> {
    let managers = state.nodes.values();
    managers
        .filter(|node| node.role == Role::Manager)
        .filter_map(|node| Some((node.id.clone(), node.address?)))
        .collect()
}
