//! Top-level networks, volumes, secrets, configs and models.

use super::{Attribute, COUNT, Form, LABELS, Shape, TEXT_MAP, TEXTS, Union, done, ignored, later};
use crate::compose::document::Node;
use crate::compose::short;

pub(in crate::compose) static NETWORK: Shape = Shape::Form(Form {
    short: short::external,
    long: &Shape::Object(&[
        done("name", &Shape::Text),
        done(
            "driver",
            &Shape::OneOf {
                good: &["bridge", "overlay", "default"],
                later: &["host", "none", "macvlan", "ipvlan"],
            },
        ),
        done("driver_opts", &TEXT_MAP),
        done("ipam", &Shape::Object(IPAM)),
        done("external", &Shape::Bool),
        done("internal", &Shape::Bool),
        done("attachable", &Shape::Bool),
        done("labels", &LABELS),
        done("enable_ipv4", &Shape::Bool),
        done("enable_ipv6", &Shape::Bool),
    ]),
});

static IPAM: &[Attribute] = &[
    done(
        "driver",
        &Shape::OneOf {
            good: &["default"],
            later: &[],
        },
    ),
    done(
        "config",
        &Shape::List {
            item: &Shape::Object(&[
                done("subnet", &Shape::Text),
                done("gateway", &Shape::Text),
                done("ip_range", &Shape::Text),
                done("aux_addresses", &TEXT_MAP),
            ]),
            union: Union::By(subnet),
        },
    ),
    ignored("options", &TEXT_MAP, "there is no driver that reads it"),
];

fn subnet(node: &Node) -> Option<String> {
    node.get_str("subnet").map(str::to_owned)
}

pub(in crate::compose) static VOLUME: Shape = Shape::Form(Form {
    short: short::external,
    long: &Shape::Object(&[
        done("name", &Shape::Text),
        done("driver", &Shape::Text),
        done("driver_opts", &TEXT_MAP),
        done("external", &Shape::Bool),
        done("labels", &LABELS),
    ]),
});

const NO_PLUGINS: &str = "there are no plugins: use `file`, `environment` or `external`";
const NO_TEMPLATES: &str = "what stands in it is handed on as it is";

pub(in crate::compose) static SECRET: Shape = Shape::Form(Form {
    short: short::external,
    long: &Shape::Object(&[
        done("name", &Shape::Text),
        done("file", &Shape::Path),
        done("environment", &Shape::Text),
        done("external", &Shape::Bool),
        done("labels", &LABELS),
        later("driver", &Shape::Text, NO_PLUGINS),
        later("driver_opts", &TEXT_MAP, NO_PLUGINS),
        later("template_driver", &Shape::Text, NO_TEMPLATES),
    ]),
});

pub(in crate::compose) static CONFIG: Shape = Shape::Form(Form {
    short: short::external,
    long: &Shape::Object(&[
        done("name", &Shape::Text),
        done("file", &Shape::Path),
        done("environment", &Shape::Text),
        done("content", &Shape::Text),
        done("external", &Shape::Bool),
        done("labels", &LABELS),
        later("template_driver", &Shape::Text, NO_TEMPLATES),
    ]),
});

pub(in crate::compose) static MODEL: Shape = Shape::Object(&[
    done("name", &Shape::Text),
    done("model", &Shape::Text),
    done("context_size", &COUNT),
    done("runtime_flags", &TEXTS),
]);
