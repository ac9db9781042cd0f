//! Nodes over loopback, with real TLS.

use std::time::{Duration, SystemTime};

use scheduler::assignment::Assignment;
use scheduler::control_plane::Standing;
use scheduler::model::cluster::Authority;
use scheduler::model::id::NodeId;
use scheduler::state::{Batch, Change, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::identity::tests::{authority, identity, identity_at};
use crate::identity::{JoinToken, Pin, new_secret};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A manager that listens, and what may be changed about its world.
struct Server {
    address: PeerAddress,
    state: watch::Sender<Arc<State>>,
    _standing: watch::Sender<Arc<Standing>>,
    _shutdown: tokio_util::sync::DropGuard,
}

async fn server(identity: Identity) -> Server {
    let (state, states) = watch::channel(Arc::new(State::default()));
    let (nobody, standing) = watch::channel(Arc::default());
    let (_, identities) = watch::channel(Some(Arc::new(identity)));
    let node = identities.borrow().as_ref().unwrap().node().clone();
    let who: Handler = Arc::new(|caller, _| {
        Box::pin(async move { answer(&format!("{:?} {}", caller.rank, caller.node)) })
    });
    let echo: Handler = Arc::new(|_, mut request| {
        Box::pin(async move {
            let (upgrading, response) = accept_upgrade(&mut request).unwrap();
            tokio::spawn(async move {
                let mut stream = upgrading.connection().await.unwrap();
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() {
                    stream.write_all(&byte).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
            response
        })
    });
    let open: OpenHandler = Arc::new(|_| Box::pin(async { answer(&"anybody") }));
    let router = Router::new()
        .route("/peer/who", RoleNeeded::Member, who.clone())
        .route("/peer/secret", RoleNeeded::Manager, who.clone())
        .route("/peer/below/", RoleNeeded::Member, who)
        .route("/peer/echo", RoleNeeded::Member, echo)
        .open("/peer/join", open);
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = PeerAddress {
        node,
        address: listener.local_addr().unwrap(),
    };
    let gate = Gate {
        identities,
        admission: Admission::Manager { states, standing },
        router,
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, gate, shutdown.clone()));
    Server {
        address,
        state,
        _standing: nobody,
        _shutdown: shutdown.drop_guard(),
    }
}

fn peers(identity: Identity) -> Peers {
    let (_, identities) = watch::channel(Some(Arc::new(identity)));
    Peers::new(identities)
}

async fn call(peers: &Peers, server: &Server, path: &str) -> Result<String, PeerError> {
    peers.call(&server.address, path, &()).await
}

fn manager(authority: &Authority) -> Identity {
    identity(authority, "m1", Role::Manager)
}

fn worker(authority: &Authority) -> Identity {
    identity(authority, "w1", Role::Worker)
}

fn status(error: &PeerError) -> Option<u16> {
    match error {
        PeerError::Refused { status, .. } => Some(*status),
        _ => None,
    }
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate_and_gets_what_its_role_may_have() {
    let authority = authority();
    let server = server(manager(&authority)).await;
    let peers = peers(worker(&authority));
    assert_eq!(
        call(&peers, &server, "/peer/who").await.unwrap(),
        "Worker w1"
    );
    assert_eq!(
        call(&peers, &server, "/peer/below/x").await.unwrap(),
        "Worker w1"
    );
    let forbidden = call(&peers, &server, "/peer/secret").await.unwrap_err();
    assert_eq!(status(&forbidden), Some(403));
    let unknown = call(&peers, &server, "/peer/nothing").await.unwrap_err();
    assert_eq!(status(&unknown), Some(404));
}

#[tokio::test]
async fn another_cluster_is_refused_by_both_sides() {
    let (ours, theirs) = (authority(), authority());
    let server = server(manager(&ours)).await;
    let refused = call(&peers(worker(&theirs)), &server, "/peer/who").await;
    assert!(
        matches!(refused, Err(PeerError::OtherCluster { .. })),
        "{refused:?}"
    );

    // One that believes the server, but whose own certificate is of another cluster.
    let mut stranger = worker(&theirs).credentials;
    stranger.authorities = vec![ours.certificate.clone()];
    let refused = call(
        &peers(Identity::new(stranger).unwrap()),
        &server,
        "/peer/who",
    )
    .await;
    assert!(
        matches!(refused, Err(PeerError::CertificateRefused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_now_is_refused_with_the_reason() {
    let authority = authority();
    let now = SystemTime::now();
    let old = |node, role| identity_at(&authority, node, role, now - 100 * DAY, 90 * DAY);
    let early = |node, role| identity_at(&authority, node, role, now + DAY, 90 * DAY);

    let good = server(manager(&authority)).await;
    for bad in [old("w1", Role::Worker), early("w1", Role::Worker)] {
        let refused = call(&peers(bad), &good, "/peer/who").await;
        assert!(
            matches!(refused, Err(PeerError::CertificateRefused { .. })),
            "{refused:?}"
        );
    }
    let expired = server(old("m1", Role::Manager)).await;
    let refused = call(&peers(worker(&authority)), &expired, "/peer/who").await;
    assert!(
        matches!(refused, Err(PeerError::Expired { .. })),
        "{refused:?}"
    );
    let early = server(early("m1", Role::Manager)).await;
    let refused = call(&peers(worker(&authority)), &early, "/peer/who").await;
    assert!(
        matches!(refused, Err(PeerError::NotYetValid { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_address_that_belongs_to_another_node_now_is_noticed() {
    let authority = authority();
    let mut server = server(manager(&authority)).await;
    server.address.node = NodeId::new("m2");
    let refused = call(&peers(worker(&authority)), &server, "/peer/who").await;
    assert!(
        matches!(refused, Err(PeerError::OtherNode { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_removed_node_is_refused_and_loses_the_connections_it_has() {
    let authority = authority();
    let server = server(manager(&authority)).await;
    let peers = peers(worker(&authority));
    let mut stream = peers.upgrade(&server.address, "/peer/echo").await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'x');

    let mut state = State::default();
    let batch = Batch {
        changes: vec![Change::RemoveNode(NodeId::new("w1"))],
        ..Batch::default()
    };
    state.apply(&batch).unwrap();
    server.state.send_replace(Arc::new(state));
    let limit = Duration::from_secs(30);
    let ended = tokio::time::timeout(limit, stream.read_u8()).await;
    assert!(ended.unwrap().is_err());
    let refused = call(&peers, &server, "/peer/who").await.unwrap_err();
    assert_eq!(status(&refused), Some(403));
    assert!(refused.to_string().contains("removed"), "{refused}");
}

#[tokio::test]
async fn only_joining_is_possible_without_a_certificate_and_only_with_the_right_cluster() {
    let authority = authority();
    let server = server(manager(&authority)).await;
    let guest = |of: &Authority| {
        let token = JoinToken::new(&of.certificate, new_secret()).unwrap();
        Guest::new(Pin::Digest(token.digest)).unwrap()
    };
    let address = server.address.address;
    let ask = async |of: &Authority, path: &str| -> Result<String, PeerError> {
        guest(of).call(address, path, |_| ()).await
    };
    assert_eq!(ask(&authority, "/peer/join").await.unwrap(), "anybody");
    let refused = ask(&authority, "/peer/who").await.unwrap_err();
    assert_eq!(status(&refused), Some(401));
    let refused = ask(&super::tests::authority(), "/peer/join").await;
    assert!(
        matches!(refused, Err(PeerError::OtherCluster { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_token_is_not_shown_to_a_worker_that_pretends_to_be_a_manager() {
    let authority = authority();
    let server = server(worker(&authority)).await;
    let token = JoinToken::new(&authority.certificate, new_secret()).unwrap();
    let guest = Guest::new(Pin::Digest(token.digest)).unwrap();
    let address = server.address.address;
    let refused: Result<String, _> = guest.call(address, "/peer/join", |_| ()).await;
    assert!(
        matches!(refused, Err(PeerError::NoManager { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn who_is_not_there_or_speaks_something_else_is_told_apart() {
    let authority = authority();
    let peers = peers(worker(&authority));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = PeerAddress {
        node: NodeId::new("m1"),
        address: listener.local_addr().unwrap(),
    };
    let plain = std::thread::spawn(move || {
        use std::io::Write as _;
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        stream
    });
    let wrong: Result<String, _> = peers.call(&to, "/peer/who", &()).await;
    assert!(
        matches!(wrong, Err(PeerError::OtherProtocol { .. })),
        "{wrong:?}"
    );
    drop(plain.join().unwrap());
    let absent: Result<String, _> = peers.call(&to, "/peer/who", &()).await;
    assert!(
        matches!(absent, Err(PeerError::Unreachable { .. })),
        "{absent:?}"
    );
    let (_, nobody) = watch::channel(None);
    let alone: Result<String, _> = Peers::new(nobody).call(&to, "/", &()).await;
    assert!(matches!(alone, Err(PeerError::NotJoined)));
}

#[tokio::test]
async fn a_worker_that_was_told_of_no_managers_lets_them_in() {
    let (_sender, assignment) = watch::channel(Arc::new(Assignment::default()));
    let admission = Admission::Worker(assignment);
    let facts = manager(&authority()).facts;
    assert_eq!(admission.admit(&facts), Ok(Rank::Manager));
}
