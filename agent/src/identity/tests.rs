use std::time::SystemTime;

use scheduler::model::cluster::{Authority, Secret};

use super::authority::Request;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An identity signed by this authority, valid from now.
pub(crate) fn identity(authority: &Authority, node: &str, role: Role) -> Identity {
    identity_at(authority, node, role, SystemTime::now(), 90 * DAY)
}

pub(crate) fn identity_at(
    authority: &Authority,
    node: &str,
    role: Role,
    now: SystemTime,
    life: Duration,
) -> Identity {
    let key = new_key().unwrap();
    let request = Request::parse(&request(&key).unwrap()).unwrap();
    let node = NodeId::new(node);
    let certificate = sign(authority, request, &node, role, "c1", (now, life)).unwrap();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Identity::new(Credentials {
        certificate,
        private_key: key.serialize_pem(),
        authorities: vec![authority.certificate.clone()],
        listen: nowhere,
        advertise: nowhere,
        joined: false,
    })
    .unwrap()
}

pub(crate) fn authority() -> Authority {
    new_authority("c1", SystemTime::now()).unwrap()
}

#[test]
fn a_certificate_says_what_the_cluster_knows_and_not_what_was_asked_for() {
    let made = identity(&authority(), "n1", Role::Worker);
    assert_eq!(made.node().as_str(), "n1");
    assert_eq!(made.role(), Role::Worker);
    assert_eq!(made.facts.cluster, "c1");
    assert_eq!(made.facts.public_key.len(), 64);
}

#[test]
fn a_request_says_the_same_key_as_the_certificate_made_of_it() {
    let authority = authority();
    let key = new_key().unwrap();
    let request = Request::parse(&request(&key).unwrap()).unwrap();
    let public_key = request.public_key();
    let node = NodeId::new("n1");
    let times = (SystemTime::now(), DAY);
    let pem = sign(&authority, request, &node, Role::Manager, "c1", times).unwrap();
    let facts = Facts::of(&certificates(&pem).unwrap()[0]).unwrap();
    assert_eq!(facts.public_key, public_key);
}

#[test]
fn a_request_that_was_changed_is_refused() {
    let mut der = request(&new_key().unwrap()).unwrap();
    let last = der.len() - 5;
    der[last] ^= 1;
    assert!(Request::parse(&der).is_err());
    assert!(Request::parse(b"no request").is_err());
    assert!(Request::parse(&[0x30; 5000]).is_err());
}

#[test]
fn a_certificate_is_renewed_between_half_and_four_fifths_of_its_life() {
    let now = SystemTime::now();
    let made = identity_at(&authority(), "n1", Role::Worker, now, 10 * DAY);
    let earliest = renewal(&made.facts, 0);
    let latest = renewal(&made.facts, 255);
    assert!(earliest > now + 4 * DAY && earliest < now + 5 * DAY + DAY / 2);
    assert!(latest > now + 7 * DAY && latest < now + 8 * DAY + DAY / 2);
}

#[test]
fn a_token_survives_being_written_and_read() {
    let token = JoinToken::new(&authority().certificate, new_secret()).unwrap();
    let text = token.to_string();
    assert_eq!(text.len(), "WHFTKN-1-".len() + 50 + 1 + 25);
    assert_eq!(text.parse(), Ok(token.clone()));
    assert_eq!(format!("  {text}\n").parse(), Ok(token.clone()));
    assert!(!format!("{token:?}").contains(token.secret.reveal()));
}

#[test]
fn what_is_no_token_is_told_why() {
    let check = |text: &str, why: TokenError| assert_eq!(text.parse::<JoinToken>(), Err(why));
    check("", TokenError::Prefix);
    check("SWMTKN-1-abc-def", TokenError::Swarm);
    check("WHFTKN-2-abc-def", TokenError::Version(2));
    check("WHFTKN-1-abc", TokenError::Incomplete);
    check("WHFTKN-1-abc-def", TokenError::Incomplete);
}

#[test]
fn numbers_in_base_36_have_a_fixed_width() {
    assert_eq!(token::base36(&[0], 3), "000");
    assert_eq!(token::base36(&[35], 2), "0z");
    assert_eq!(token::base36(&[1, 0], 3), "074");
    let largest = token::base36(&[0xff; 32], 50);
    assert_eq!(
        largest,
        "6dp5qcb22im238nr3wvp0ic7q99w035jmy2iw7i6n43d37jtof"
    );
}

#[test]
fn secrets_are_compared_as_a_whole() {
    let secret = new_secret();
    assert!(secret.matches(&Secret::new(secret.reveal())));
    assert!(!secret.matches(&new_secret()));
    assert!(!secret.matches(&Secret::new("")));
}

#[test]
fn the_store_gives_back_the_identity_and_hides_it_on_disk() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::new(root.path(), &crate::seal::NodeKey::for_tests()).unwrap();
    assert!(store.identity().unwrap().is_none());
    let made = identity(&authority(), "n1", Role::Manager);
    store.save(&made.credentials).unwrap();
    let again = store.identity().unwrap().unwrap();
    assert_eq!(again.facts, made.facts);
    let bytes = std::fs::read(root.path().join("cluster/identity")).unwrap();
    assert!(!bytes.windows(7).any(|part| part == b"PRIVATE"));

    let first = store.joining_key().unwrap().serialize_pem();
    assert_eq!(store.joining_key().unwrap().serialize_pem(), first);
    store.forget().unwrap();
    assert!(store.identity().unwrap().is_none());
    assert!(store.managers().is_empty());
}
