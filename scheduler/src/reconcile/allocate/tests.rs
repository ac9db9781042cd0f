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

#[test]
fn addresses_go_round_and_leave_out_what_is_taken() {
    let network = |range: &str| Network {
        id: NetworkId::new("n"),
        spec: crate::model::network::NetworkSpec {
            ip_range: range.parse().ok(),
            ..Default::default()
        },
        stack: None,
        subnet: "10.0.0.0/29".parse().unwrap(),
        gateway: Ipv4Addr::new(10, 0, 0, 1),
        vni: 0,
        node_addresses: Default::default(),
        removing: false,
        created_at: crate::model::time::Timestamp::EPOCH,
    };
    let list = |network: &Network, cursor: Option<Ipv4Addr>| -> Vec<u8> {
        around(network, cursor)
            .map(|address| address.octets()[3])
            .collect()
    };
    assert_eq!(list(&network(""), None), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        list(&network(""), Some(Ipv4Addr::new(10, 0, 0, 4))),
        [5, 6, 1, 2, 3, 4]
    );
    assert_eq!(list(&network("10.0.0.4/30"), None), [4, 5, 6]);
    assert_eq!(
        list(&network("10.0.0.4/30"), Some(Ipv4Addr::new(10, 0, 0, 2))),
        [4, 5, 6]
    );
}
