use super::*;
use crate::docker::Port;

fn port(ip: &str, public_port: u16, private_port: u16) -> Port {
    Port {
        ip: ip.to_owned(),
        public_port,
        private_port,
        protocol: "tcp".to_owned(),
    }
}

#[track_caller]
fn check_ports(ports: &[Port], expected: &str) {
    assert_eq!(ports::show(ports), expected);
}

#[test]
fn ports_in_a_row_are_one_range() {
    check_ports(&[], "");
    check_ports(&[port("", 0, 80)], "80/tcp");
    check_ports(
        &[port("0.0.0.0", 8081, 81), port("0.0.0.0", 8080, 80)],
        "0.0.0.0:8080-8081->80-81/tcp",
    );
    check_ports(
        &[port("::", 8080, 80), port("0.0.0.0", 8080, 80)],
        "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
    );
    check_ports(
        &[port("0.0.0.0", 9000, 80), port("0.0.0.0", 8080, 81)],
        "0.0.0.0:9000->80/tcp, 0.0.0.0:8080->81/tcp",
    );
}

#[test]
fn health_and_exit_code_are_read_off_the_status() {
    assert_eq!(json::exit_code("Exited (3) 2 minutes ago"), 3);
    assert_eq!(json::exit_code("Up 2 minutes"), 0);
    assert_eq!(json::health("Up 2 minutes (healthy)"), "healthy");
    assert_eq!(json::health("Up 2 seconds (health: starting)"), "starting");
    assert_eq!(json::health("Up 2 seconds"), "");
}

fn container() -> Container {
    serde_json::from_value(serde_json::json!({
        "Id": "0123456789abcdef", "Names": ["/shop-web-1"], "Image": "nginx:1.27", "Node": "node2",
        "Command": "/docker-entrypoint.sh nginx -g", "Created": 1000,
        "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}],
        "Labels": {"com.docker.compose.service": "web"}, "State": "running",
        "Status": "Up 2 minutes (healthy)", "Mounts": null, "NetworkSettings": null
    }))
    .unwrap()
}

fn node(name: &str) -> agent::cluster::info::NodeView {
    serde_json::from_value(serde_json::json!({
        "id": name, "hostname": name, "is_self": false, "status": "ready", "status_reason": "",
        "status_since": "", "availability": "active", "role": "manager", "manager": null,
        "address": null, "labels": {}, "os": "linux", "architecture": "x86_64", "cpu_millis": 0,
        "memory": 0, "engine_version": "", "running": 0
    }))
    .unwrap()
}

#[test]
fn the_table_is_that_of_compose() {
    let now = Timestamp::from_second(1150).unwrap();
    insta::assert_snapshot!(table(&[container()], &Nodes::Alone, now, false), @r#"
    NAME         IMAGE        COMMAND                  SERVICE   CREATED         STATUS                   PORTS
    shop-web-1   nginx:1.27   "/docker-entrypoint.…"   web       2 minutes ago   Up 2 minutes (healthy)   0.0.0.0:8080->80/tcp
    "#);
}

#[test]
fn with_several_nodes_it_says_where_each_container_is() {
    let now = Timestamp::from_second(1150).unwrap();
    let nodes = Nodes::Cluster(vec![node("node1"), node("node2")]);
    insta::assert_snapshot!(table(&[container()], &nodes, now, false), @r#"
    NAME         IMAGE        COMMAND                  SERVICE   NODE      CREATED         STATUS                   PORTS
    shop-web-1   nginx:1.27   "/docker-entrypoint.…"   web       node2     2 minutes ago   Up 2 minutes (healthy)   0.0.0.0:8080->80/tcp
    "#);
}
