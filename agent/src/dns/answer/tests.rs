//! A question as words, the answer as text.

use super::*;
use crate::dns::table::tests::networks;

const SHOP: &[&str] = &[
    "front: web=10.1.1.2,10.1.1.3 shop-web-1=10.1.1.2 my_db.v1=10.1.1.4 six=10.1.1.6,fd00:1::6",
    "back: db=10.1.2.2",
];

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn ask(bytes: &[u8], turn: usize) -> Verdict {
    let table = Table::new(&networks(SHOP));
    answer(
        bytes,
        Transport::Udp,
        &table,
        &[NetworkId::new("front")],
        turn,
    )
}

fn show(verdict: Verdict) -> String {
    let bytes = match verdict {
        Verdict::Answer(bytes) => bytes,
        Verdict::Forward => return "forward".to_owned(),
        Verdict::Ignore => return "ignore".to_owned(),
    };
    let message = Message::from_vec(&bytes).unwrap();
    assert_eq!(message.metadata.id, 7);
    let records = message
        .answers
        .iter()
        .map(|record| format!(" {} {}", record.ttl, record.data));
    format!(
        "{}{}",
        message.metadata.response_code,
        records.collect::<String>()
    )
}

#[track_caller]
fn check(name: &str, kind: RecordType, expected: &str) {
    assert_eq!(show(ask(&question(name, kind), 0)), expected);
}

#[test]
fn names_of_the_askers_networks_have_the_addresses_of_the_kind_that_is_asked_for() {
    check("six.", RecordType::A, "No Error 2 10.1.1.6");
    check("six.", RecordType::AAAA, "No Error 2 fd00:1::6");
    check(
        "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa.",
        RecordType::PTR,
        "No Error 2 six.shop_front.",
    );
    check("6.ip6.arpa.", RecordType::PTR, "forward");
    check("web.", RecordType::A, "No Error 2 10.1.1.2 2 10.1.1.3");
    check("WeB.", RecordType::A, "No Error 2 10.1.1.2 2 10.1.1.3");
    check("My_DB.v1.", RecordType::A, "No Error 2 10.1.1.4");
    check("web.", RecordType::AAAA, "No Error");
    check("web.", RecordType::MX, "No Error");
    check("db.", RecordType::A, "forward");
    check("example.com.", RecordType::A, "forward");
    check(".", RecordType::NS, "forward");
}

#[test]
fn addresses_take_turns() {
    assert_eq!(
        show(ask(&question("web.", RecordType::A), 1)),
        "No Error 2 10.1.1.3 2 10.1.1.2"
    );
    assert_eq!(
        show(ask(&question("web.", RecordType::A), usize::MAX)),
        "No Error 2 10.1.1.3 2 10.1.1.2"
    );
}

#[test]
fn addresses_have_names() {
    check(
        "2.1.1.10.in-addr.arpa.",
        RecordType::PTR,
        "No Error 2 shop-web-1.shop_front.",
    );
    check(
        "9.1.1.10.in-addr.arpa.",
        RecordType::PTR,
        "Non-Existent Domain",
    );
    check("1.2.0.192.in-addr.arpa.", RecordType::PTR, "forward");
    check("x.1.1.10.in-addr.arpa.", RecordType::PTR, "forward");
}

#[test]
fn localhost_is_the_container_itself() {
    check("localhost.", RecordType::A, "No Error 2 127.0.0.1");
    check("a.localhost.", RecordType::AAAA, "No Error 2 ::1");
    check("localhost.", RecordType::TXT, "No Error");
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    assert_eq!(show(ask(b"", 0)), "ignore");
    assert_eq!(
        show(ask(&[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 0)),
        "Form Error"
    );
    let mut response = question("web.", RecordType::A);
    response[2] |= 0x80;
    assert_eq!(show(ask(&response, 0)), "ignore");
    let mut two = Message::new(7, MessageType::Query, OpCode::Query);
    for _ in 0..2 {
        two.add_query(Query::query(
            Name::from_utf8("web.").unwrap(),
            RecordType::A,
        ));
    }
    assert_eq!(show(ask(&two.to_vec().unwrap(), 0)), "Form Error");
}

#[test]
fn answers_that_do_not_fit_are_cut_and_marked() {
    let many: Vec<String> = (2..=101).map(|last| format!("10.1.1.{last}")).collect();
    let table = Table::new(&networks(&[&format!("front: web={}", many.join(","))]));
    let front = [NetworkId::new("front")];
    let question = question("web.", RecordType::A);
    let size = |transport| match answer(&question, transport, &table, &front, 0) {
        Verdict::Answer(bytes) => {
            let message = Message::from_vec(&bytes).unwrap();
            (
                bytes.len() <= 512,
                message.metadata.truncation,
                message.answers.len(),
            )
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(size(Transport::Udp), (true, true, 0));
    assert_eq!(size(Transport::Tcp), (false, false, 100));
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        ask(&bytes, 3);
    }

    #[test]
    fn no_damaged_question_breaks_it(at in 0usize..30, value: u8) {
        let mut bytes = question("web.example.", RecordType::A);
        let at = at % bytes.len();
        bytes[at] = value;
        ask(&bytes, 3);
    }
}
