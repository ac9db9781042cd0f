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
        told: (0, 0),
        interface: None,
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

/// Signs a certificate of a manager, and tells whether those who believe this authority believe it.
#[track_caller]
fn is_believed(believes: &Authority, signer: &Authority, expected: bool) {
    let made = identity(signer, "n1", Role::Manager);
    let chain = certificates(&made.credentials.certificate).unwrap();
    let anchor = certificates(&believes.certificate).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(anchor[0].clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let name = server_name(made.node()).unwrap();
    let now = rustls::pki_types::UnixTime::now();
    let verified = rustls::client::danger::ServerCertVerifier::verify_server_cert(
        verifier.build().unwrap().as_ref(),
        &chain[0],
        &chain[1..],
        &name,
        &[],
        now,
    );
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
}

#[test]
fn who_believes_an_old_authority_believes_those_that_followed_it_and_not_the_other_way_round() {
    let first = authority();
    let second = succeed(&first, authority()).unwrap();
    let third = succeed(&second, authority()).unwrap();
    is_believed(&first, &first, true);
    is_believed(&first, &second, true);
    is_believed(&first, &third, true);
    is_believed(&second, &third, true);
    is_believed(&third, &third, true);
    is_believed(&third, &first, false);
    is_believed(&second, &first, false);
    is_believed(&first, &authority(), false);
}

#[test]
fn an_authority_that_people_bring_must_be_one() {
    let own = authority();
    let key = own.private_key.reveal();
    let now = SystemTime::now();
    let given = given_authority(&own.certificate, key, now).unwrap();
    assert_eq!(given.id, own.id);
    let next = succeed(&authority(), given).unwrap();
    is_believed(&next, &next, true);

    let check = |certificate: &str, key: &str, now, why: &str| {
        let error = given_authority(certificate, key, now).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    let other = new_key().unwrap().serialize_pem();
    check(&own.certificate, &other, now, "not its own");
    check(&own.certificate, "no key", now, "private key");
    check("no certificate", key, now, "exactly one");
    check(&own.certificate, key, now - 2 * DAY, "not valid now");
    let leaf = identity(&own, "n1", Role::Worker).credentials;
    let leaf_only = leaf
        .certificate
        .split_inclusive("-----END CERTIFICATE-----\n");
    let leaf_only: String = leaf_only.take(1).collect();
    check(
        &leaf_only,
        &leaf.private_key,
        now,
        "not one of an authority",
    );
}

#[test]
fn a_certificate_is_outdated_when_another_authority_signs() {
    let (old, new) = (authority(), authority());
    let mut made = identity(&old, "n1", Role::Worker);
    assert_eq!(made.authority, old.id);
    assert!(!made.is_outdated());
    made.credentials.authorities.insert(0, new.certificate);
    assert!(made.is_outdated());
}
