use std::time::Duration;

use super::super::record::InterfaceRecord;
use super::*;

fn record(id: &str, network: &str, address: [u8; 4]) -> ContainerRecord {
    ContainerRecord {
        id: ContainerId::new(id),
        interfaces: vec![InterfaceRecord {
            network: NetworkId::new(network),
            veth: "whv0".into(),
            name: "eth0".into(),
            address: address.into(),
            ipv6: None,
            link_local: Vec::new(),
            mac: "02:42:00:00:00:02".into(),
        }],
        forward_to: None,
        forward_to_ipv6: None,
        ports: Vec::new(),
    }
}

/// Whether a wait is over at once.
async fn is_over(wait: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::ZERO, wait).await.is_ok()
}

#[tokio::test]
async fn only_what_would_meet_it_waits() {
    let leaving = Leaving::new();
    let (one, two) = (ContainerId::new("one"), ContainerId::new("two"));
    let (front, back) = (NetworkId::new("front"), NetworkId::new("back"));
    leaving.begin(&one, Some(&record("one", "front", [10, 0, 0, 2])));
    assert!(!is_over(leaving.container_left(&one)).await);
    assert!(is_over(leaving.container_left(&two)).await);
    let at = |network: &NetworkId, last| [(network.clone(), IpAddr::from([10, 0, 0, last]))];
    assert!(!is_over(leaving.places_left(&at(&front, 2))).await);
    assert!(is_over(leaving.places_left(&at(&front, 3))).await);
    assert!(is_over(leaving.places_left(&at(&back, 2))).await);
    assert!(!is_over(leaving.network_left(&front)).await);
    assert!(is_over(leaving.network_left(&back)).await);
    drop(leaving.departure(&one));
    assert!(is_over(leaving.container_left(&one)).await);
    assert!(is_over(leaving.network_left(&front)).await);
}

#[tokio::test]
async fn who_waits_is_told_of_the_end() {
    let leaving = Leaving::new();
    let one = ContainerId::new("one");
    leaving.begin(&one, None);
    let departure = leaving.departure(&one);
    let end = async {
        tokio::task::yield_now().await;
        drop(departure);
    };
    let both = async { tokio::join!(leaving.container_left(&one), end) };
    let waited = tokio::time::timeout(Duration::from_secs(30), both).await;
    assert!(waited.is_ok());
}
