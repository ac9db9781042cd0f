use ipnet::IpNet;

use super::pool::{around, bits};
use super::*;
use crate::control_plane::Command;
use crate::control_plane::command::DeployOptions;
use crate::control_plane::tests::world::{World, stack};
use crate::model::container::NetworkMode;

/// Container name and address, in the order of names.
fn addresses(world: &World) -> String {
    let mut lines: Vec<String> = world
        .assignment
        .tasks
        .iter()
        .map(|task| format!("{} {}", task.name, task.interfaces[0].address))
        .collect();
    lines.sort();
    lines.join(", ")
}

#[test]
fn a_container_that_is_run_again_keeps_its_address_and_a_new_one_gets_another() {
    let mut world = World::new();
    world.up("web v1 restart always").unwrap();
    world.settle();
    assert_eq!(addresses(&world), "shop-web-1 172.18.0.2");
    world.crash("shop-web-1", 1);
    world.settle();
    assert_eq!(addresses(&world), "shop-web-1 172.18.0.2");
    world.up("web v2 restart always").unwrap();
    world.settle();
    assert_eq!(addresses(&world), "shop-web-1 172.18.0.3");
    // Not the one that has just become free.
    world.up("web v3 restart always").unwrap();
    world.settle();
    assert_eq!(addresses(&world), "shop-web-1 172.18.0.4");
}

#[test]
fn several_containers_share_an_address_of_their_own() {
    let mut world = World::new();
    world.up("web v1 x2").unwrap();
    world.settle();
    assert_eq!(
        addresses(&world),
        "shop-web-1 172.18.0.3, shop-web-2 172.18.0.4"
    );
    let state = world.plane.state();
    let service = state.services.values().next().unwrap();
    let shared: Vec<_> = service
        .virtual_addresses
        .values()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shared, ["172.18.0.2"]);
}

/// A stack whose service `fixed` wants an address.
fn up_fixed(world: &mut World, image: &str, address: &str) {
    let mut stack = stack("shop", &format!("auto v1\nfixed {image}"));
    let spec = stack.services.get_mut("fixed").unwrap();
    let container = Arc::make_mut(&mut spec.container);
    if let NetworkMode::Attached(wishes) = &mut container.network {
        wishes[0].ipv4_address = Some(address.parse().unwrap());
    }
    let options = DeployOptions::default();
    world.command(Command::Deploy { stack, options }).unwrap();
    world.settle();
}

#[test]
fn a_fixed_address_is_kept_free_and_passes_from_one_container_to_the_next() {
    let mut world = World::new();
    up_fixed(&mut world, "v1", "172.18.0.2");
    assert_eq!(
        addresses(&world),
        "shop-auto-1 172.18.0.3, shop-fixed-1 172.18.0.2"
    );
    up_fixed(&mut world, "v2", "172.18.0.2");
    assert_eq!(
        addresses(&world),
        "shop-auto-1 172.18.0.3, shop-fixed-1 172.18.0.2"
    );
}

#[test]
fn an_address_outside_the_network_is_a_reason() {
    let mut world = World::new();
    up_fixed(&mut world, "v1", "10.0.0.1");
    assert!(
        world
            .tasks()
            .contains("fixed.1 pending (address 10.0.0.1 is not in 172.18.0.0/16 (shop_default))")
    );
}

#[track_caller]
fn check_around(range: &str, start: Option<&str>, expected: &[&str]) {
    let subnet: IpNet = match range.contains(':') {
        true => "fd00::/124".parse().unwrap(),
        false => "10.0.0.0/29".parse().unwrap(),
    };
    let start = start.map(|it| bits(it.parse().unwrap()));
    let found = around(subnet, range.parse().unwrap(), start);
    let found: Vec<String> = found.take(6).map(|it| it.to_string()).collect();
    let ends: Vec<&str> = found.iter().map(|it| &it[it.len() - 1..]).collect();
    assert_eq!(ends, expected);
}

#[test]
fn addresses_go_round_and_leave_out_what_is_taken() {
    check_around("10.0.0.0/29", None, &["1", "2", "3", "4", "5", "6"]);
    let from_five = &["5", "6", "1", "2", "3", "4"];
    check_around("10.0.0.0/29", Some("10.0.0.5"), from_five);
    check_around("10.0.0.4/30", None, &["4", "5", "6"]);
    check_around("10.0.0.4/30", Some("10.0.0.3"), &["4", "5", "6"]);
    check_around("fd00::/124", None, &["1", "2", "3", "4", "5", "6"]);
    check_around(
        "fd00::8/125",
        Some("fd00::c"),
        &["c", "d", "e", "8", "9", "a"],
    );
}

/// A stack on one network of its own, as the options say, and what its containers got.
fn on_network(options: &str, wish: NetworkAttachment) -> (World, String) {
    let mut world = World::new();
    let mut stack = stack("shop", "web v1\ndb v1");
    let network = stack.networks.get_mut("default").unwrap();
    network.enable_ipv6 = options.contains("ipv6");
    network.ipv6_only = options.contains("only");
    let subnet = options.split_whitespace().find(|it| it.contains(':'));
    network.ipv6.subnet = subnet.map(|it| it.parse().unwrap());
    let web = stack.services.get_mut("web").unwrap();
    let name = network.name.clone();
    Arc::make_mut(&mut web.container).network = NetworkMode::Attached(vec![NetworkAttachment {
        network: name,
        ..wish
    }]);
    let options = DeployOptions::default();
    world.command(Command::Deploy { stack, options }).unwrap();
    world.settle();
    let line = |task: &Arc<crate::assignment::AssignedTask>| {
        let interface = &task.interfaces[0];
        let beside = interface.ipv6.map(|it| format!(" {}", it.address));
        let beside = beside.unwrap_or_default();
        format!("{} {}{beside}", task.name, interface.address)
    };
    let mut lines: Vec<String> = world.assignment.tasks.iter().map(line).collect();
    lines.sort();
    let shown = lines.join(", ");
    (world, shown)
}

#[test]
fn a_network_of_both_kinds_gives_addresses_of_both() {
    let (world, shown) = on_network("ipv6 fd00:5::/64", NetworkAttachment::default());
    assert_eq!(
        shown,
        "shop-db-1 172.18.0.2 fd00:5::2, shop-web-1 172.18.0.3 fd00:5::3"
    );
    let network = &world.assignment.networks[0];
    assert_eq!(network.ipv6.unwrap().gateway.to_string(), "fd00:5::1");
    let names = &network.names["web"];
    assert_eq!(
        names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["172.18.0.3", "fd00:5::3"]
    );
    let (_, shown) = on_network("ipv6 only fd00:5::/64", NetworkAttachment::default());
    assert_eq!(shown, "shop-db-1 fd00:5::2, shop-web-1 fd00:5::3");
}

#[test]
fn an_ipv6_address_that_was_asked_for_is_given_to_nobody_else() {
    let wish = NetworkAttachment {
        ipv6_address: "fd00:5::2".parse().ok(),
        ..NetworkAttachment::default()
    };
    let (_, shown) = on_network("ipv6 fd00:5::/64", wish);
    assert_eq!(
        shown,
        "shop-db-1 172.18.0.2 fd00:5::3, shop-web-1 172.18.0.3 fd00:5::2"
    );
}

#[test]
fn subnets_without_a_choice_are_the_clusters_own() {
    let (world, _) = on_network("ipv6", NetworkAttachment::default());
    let state = world.plane.state();
    let network = state.network_named("shop_default").unwrap();
    let subnet = network.ipv6.unwrap().subnet;
    assert_eq!(subnet.prefix_len(), 64);
    assert_eq!(subnet.network().octets()[0], 0xfd);
    let other = subnet::choose_ipv6(state, &network.id).unwrap();
    assert_ne!(other, subnet);
    assert_eq!(
        other.network().octets()[..6],
        subnet.network().octets()[..6]
    );
}
