//! Names from networks in a drawing: `network: name=address,address …`.

use super::*;

pub(in crate::dns) fn networks(drawing: &[&str]) -> Vec<AssignedNetwork> {
    drawing
        .iter()
        .enumerate()
        .map(|(number, line)| network(number as u8 + 1, line))
        .collect()
}

fn network(number: u8, line: &str) -> AssignedNetwork {
    let (id, names) = line.split_once(':').unwrap();
    let names = names.split_whitespace().map(|entry| {
        let (name, addresses) = entry.split_once('=').unwrap();
        (
            name.to_owned(),
            addresses
                .split(',')
                .map(|address| address.parse().unwrap())
                .collect(),
        )
    });
    AssignedNetwork {
        overlay: None,
        id: NetworkId::new(id),
        name: format!("shop_{id}"),
        subnet: format!("10.1.{number}.0/24").parse().unwrap(),
        gateway: [10, 1, number, 1].into(),
        ipv6: format!("fd00:{number}::/64").parse().ok().map(|subnet| {
            let gateway = std::net::Ipv6Addr::LOCALHOST;
            scheduler::model::network::Ipv6Subnet { subnet, gateway }
        }),
        internal: false,
        mtu: None,
        bridge_name: None,
        inter_container: true,
        masquerade: true,
        names: names.collect(),
        virtual_addresses: Vec::new(),
    }
}

#[track_caller]
fn check(drawing: &[&str], asker: &[&str], question: &str, expected: &str) {
    let table = Table::new(&networks(drawing));
    let asker: Vec<NetworkId> = asker.iter().map(|id| NetworkId::new(*id)).collect();
    let answer = match question.parse() {
        Ok(address) => match table.name(&asker, address) {
            Known::Yes(name) => name,
            other => format!("{other:?}"),
        },
        Err(_) => match table.addresses(&asker, question) {
            Known::Yes(addresses) => format!("{addresses:?}"),
            other => format!("{other:?}"),
        },
    };
    assert_eq!(answer, expected);
}

const SHOP: &[&str] = &[
    "front: web=10.1.1.2,10.1.1.3 shop-web-1=10.1.1.2 shop-web-2=10.1.1.3 0123456789ab=10.1.1.2",
    "back: db=10.1.2.2 web=10.1.2.9",
];

#[test]
fn a_name_means_what_it_means_on_the_askers_networks() {
    check(SHOP, &["front"], "web", "[10.1.1.2, 10.1.1.3]");
    check(SHOP, &["back"], "web", "[10.1.2.9]");
    check(SHOP, &["front", "back"], "web", "[10.1.1.2, 10.1.1.3]");
    check(SHOP, &["back", "front"], "web", "[10.1.2.9]");
}

#[test]
fn names_of_other_networks_are_unknown() {
    check(SHOP, &["front"], "db", "Elsewhere");
    check(SHOP, &["front"], "db.shop_back", "Elsewhere");
    check(SHOP, &[], "web", "Elsewhere");
    check(SHOP, &["gone"], "web", "Elsewhere");
}

#[test]
fn a_name_may_carry_its_networks_name() {
    check(SHOP, &["front", "back"], "web.shop_back", "[10.1.2.9]");
    check(SHOP, &["front", "back"], "shop_back", "Elsewhere");
    check(SHOP, &["front", "back"], ".shop_back", "Elsewhere");
}

#[test]
fn an_address_has_the_containers_name() {
    check(SHOP, &["front"], "10.1.1.2", "shop-web-1.shop_front");
    check(SHOP, &["front"], "10.1.1.77", "No");
    check(SHOP, &["front"], "10.1.2.2", "Elsewhere");
    check(SHOP, &["front"], "192.0.2.1", "Elsewhere");
}
