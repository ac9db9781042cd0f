//! How a service is connected: `networks` and `ports`.

use super::{ANY_INT, Attribute, Form, Shape, TEXT_MAP, TEXT_SET, Union, done, ignored};
use crate::compose::short::{self, port};

pub(super) static NETWORKS: Shape = Shape::Form(Form {
    short: short::keys,
    long: &Shape::Map(&Shape::Object(ATTACHMENT)),
});

static ATTACHMENT: &[Attribute] = &[
    done("aliases", &TEXT_SET),
    ignored("driver_opts", &TEXT_MAP, "no network driver reads it"),
    done("gw_priority", &ANY_INT),
    done("interface_name", &Shape::Text),
    done("ipv4_address", &Shape::Text),
    done("ipv6_address", &Shape::Text),
    done("link_local_ips", &TEXT_SET),
    done("mac_address", &Shape::Text),
    done("priority", &ANY_INT),
];

pub(super) static PORTS: Shape = Shape::Form(Form {
    short: port::ports,
    long: &Shape::List {
        item: &Shape::Object(PORT),
        union: Union::By(port::identity),
    },
});

static PORT: &[Attribute] = &[
    done("name", &Shape::Text),
    done(
        "mode",
        &Shape::OneOf {
            good: &["ingress", "host"],
            later: &[],
        },
    ),
    done("host_ip", &Shape::Text),
    done("target", &Shape::Int { min: Some(1) }),
    done("published", &Shape::Text),
    done(
        "protocol",
        &Shape::OneOf {
            good: &["tcp", "udp"],
            later: &["sctp"],
        },
    ),
    done("app_protocol", &Shape::Text),
];
