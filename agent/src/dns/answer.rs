//! Questions and answers as bytes. Pure.
//!
//! Source: RFC 1035, RFC 6891 (EDNS), RFC 6761 (`localhost`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use scheduler::model::id::NetworkId;

use super::table::{Known, Table};

/// Seconds that a client may keep an answer: a container that ended must soon be forgotten.
const TTL: u32 = 2;

/// What an answer by UDP may have where the client says nothing (RFC 1035), and at most: what
/// passes any link unbroken (the DNS flag day's recommendation).
const UDP_DEFAULT_LEN: usize = 512;
const UDP_MAX_LEN: usize = 1232;

/// What becomes of a question.
#[derive(Debug)]
pub(super) enum Verdict {
    Answer(Vec<u8>),
    /// None of ours: to be asked upstream.
    Forward,
    /// Not worth an answer.
    Ignore,
}

/// How the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Answers what the asker's networks know. `turn` says which of several addresses comes first.
pub(super) fn answer(
    question: &[u8],
    transport: Transport,
    table: &Table,
    networks: &[NetworkId],
    turn: usize,
) -> Verdict {
    let request = match Message::from_vec(question) {
        Ok(request) => request,
        Err(_) => return refuse(question, ResponseCode::FormErr),
    };
    if request.metadata.message_type != MessageType::Query {
        // Answering answers would let two servers talk for ever.
        return Verdict::Ignore;
    }
    if request.metadata.op_code != OpCode::Query {
        return refuse(question, ResponseCode::NotImp);
    }
    let [query] = request.queries.as_slice() else {
        return refuse(question, ResponseCode::FormErr);
    };
    if query.query_class() != DNSClass::IN {
        return Verdict::Forward;
    }
    match records(query, table, networks, turn) {
        Known::Yes(records) => reply(&request, ResponseCode::NoError, records, transport),
        Known::No => reply(&request, ResponseCode::NXDomain, Vec::new(), transport),
        Known::Elsewhere => Verdict::Forward,
    }
}

/// An answer without content to a question that could not be answered; `Ignore` when even its
/// number cannot be read.
pub(super) fn refuse(question: &[u8], code: ResponseCode) -> Verdict {
    let Some(header) = question.get(..12) else {
        return Verdict::Ignore;
    };
    if header[2] & 0x80 != 0 {
        return Verdict::Ignore;
    }
    let id = u16::from_be_bytes([header[0], header[1]]);
    let mut response = match Message::from_vec(question) {
        Ok(request) => {
            let mut response = Message::response(id, request.metadata.op_code);
            response.metadata.recursion_desired = request.metadata.recursion_desired;
            response.add_queries(request.queries);
            response
        }
        Err(_) => Message::response(id, OpCode::Query),
    };
    response.metadata.recursion_available = true;
    response.metadata.response_code = code;
    response.to_vec().map_or(Verdict::Ignore, Verdict::Answer)
}

/// What is known; an empty list is a name that exists without records of this type.
fn records(
    query: &Query,
    table: &Table,
    networks: &[NetworkId],
    turn: usize,
) -> Known<Vec<Record>> {
    let name = query.name();
    let text = text(name);
    let kind = query.query_type();
    if let Some(addresses) = localhost(&text) {
        return Known::Yes(
            addresses
                .into_iter()
                .filter_map(|address| record(name, kind, address))
                .collect(),
        );
    }
    if kind == RecordType::PTR
        && let Some(address) = reversed(&text)
    {
        return match table.name(networks, address) {
            // Label by label, as bytes: `_` is no host name's letter, but common here.
            Known::Yes(found) => match Name::from_labels(found.split('.').map(str::as_bytes)) {
                Ok(found) => {
                    let data = RData::PTR(PTR(found));
                    Known::Yes(vec![Record::from_rdata(name.clone(), TTL, data)])
                }
                Err(_) => Known::No,
            },
            Known::No => Known::No,
            Known::Elsewhere => Known::Elsewhere,
        };
    }
    match table.addresses(networks, &text) {
        Known::Yes(addresses) => {
            // Only those that are asked for take turns.
            let is_asked = |it: &&IpAddr| record(name, kind, **it).is_some();
            let mut addresses: Vec<IpAddr> = addresses.iter().filter(is_asked).copied().collect();
            if !addresses.is_empty() {
                let first = turn % addresses.len();
                addresses.rotate_left(first);
            }
            Known::Yes(
                addresses
                    .into_iter()
                    .filter_map(|address| record(name, kind, address))
                    .collect(),
            )
        }
        Known::No => Known::No,
        Known::Elsewhere => Known::Elsewhere,
    }
}

/// Names in lower case, as the table has them, without the final dot.
fn text(name: &Name) -> String {
    let mut text = name.to_string();
    text.make_ascii_lowercase();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

fn localhost(name: &str) -> Option<[IpAddr; 2]> {
    (name == "localhost" || name.ends_with(".localhost")).then_some([
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ])
}

/// The record of this type for an address; `None` when the address is not of that type.
fn record(name: &Name, kind: RecordType, address: IpAddr) -> Option<Record> {
    let data = match (kind, address) {
        (RecordType::A | RecordType::ANY, IpAddr::V4(address)) => RData::A(A(address)),
        (RecordType::AAAA | RecordType::ANY, IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

/// The address in `2.1.1.10.in-addr.arpa`, or in 32 hexadecimal digits under `ip6.arpa` (RFC 3596).
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        return reversed_ipv6(digits).map(IpAddr::V6);
    }
    let mut octets = [0; 4];
    let mut labels = name.strip_suffix(".in-addr.arpa")?.split('.').rev();
    for octet in &mut octets {
        *octet = labels.next()?.parse().ok()?;
    }
    labels.next().is_none().then_some(octets.into())
}

fn reversed_ipv6(digits: &str) -> Option<Ipv6Addr> {
    let mut bits: u128 = 0;
    let mut labels = digits.split('.').rev();
    for _ in 0..32 {
        let label = labels.next().filter(|it| it.len() == 1)?;
        bits = bits << 4 | u128::from_str_radix(label, 16).ok()?;
    }
    labels.next().is_none().then(|| Ipv6Addr::from_bits(bits))
}

fn reply(
    request: &Message,
    code: ResponseCode,
    records: Vec<Record>,
    transport: Transport,
) -> Verdict {
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.metadata.authoritative = true;
    response.metadata.response_code = code;
    response.add_queries(request.queries.iter().cloned());
    response.add_answers(records);
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX_LEN as u16);
        response.set_edns(edns);
    }
    let Ok(bytes) = response.to_vec() else {
        return Verdict::Ignore;
    };
    let limit = match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp if request.edns.is_some() => {
            usize::from(request.max_payload()).clamp(UDP_DEFAULT_LEN, UDP_MAX_LEN)
        }
        Transport::Udp => UDP_DEFAULT_LEN,
    };
    if bytes.len() <= limit {
        return Verdict::Answer(bytes);
    }
    // The client asks again by TCP.
    response
        .truncate()
        .to_vec()
        .map_or(Verdict::Ignore, Verdict::Answer)
}

#[cfg(test)]
mod tests;
