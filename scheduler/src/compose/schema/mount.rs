//! `volumes` of a service.

use super::{ANY_INT, Attribute, Form, LABELS, Shape, Union, done, ignored};
use crate::compose::merge::replace;
use crate::compose::short::volume;

pub(super) static VOLUMES: Shape = Shape::List {
    item: &Shape::Merged(
        replace,
        &Shape::Form(Form {
            short: volume::volume,
            long: &Shape::Object(ATTRIBUTES),
        }),
    ),
    union: Union::By(volume::identity),
};

static ATTRIBUTES: &[Attribute] = &[
    done(
        "type",
        &Shape::OneOf {
            good: &["volume", "bind", "tmpfs", "image"],
            later: &["npipe", "cluster"],
        },
    ),
    done("source", &Shape::Text),
    done("target", &Shape::Text),
    done("read_only", &Shape::Bool),
    ignored(
        "consistency",
        &Shape::Text,
        "only Docker Desktop honours it",
    ),
    done("bind", &Shape::Object(BIND)),
    done(
        "volume",
        &Shape::Object(&[
            ignored(
                "labels",
                &LABELS,
                "put labels on the volume under the top-level `volumes`",
            ),
            done("nocopy", &Shape::Bool),
            done("subpath", &Shape::Text),
        ]),
    ),
    done(
        "tmpfs",
        &Shape::Object(&[done("size", &Shape::Size), done("mode", &ANY_INT)]),
    ),
    done("image", &Shape::Object(&[done("subpath", &Shape::Text)])),
];

static BIND: &[Attribute] = &[
    done(
        "selinux",
        &Shape::OneOf {
            good: &["z", "Z"],
            later: &[],
        },
    ),
    done(
        "propagation",
        &Shape::OneOf {
            good: &[
                "private", "rprivate", "shared", "rshared", "slave", "rslave",
            ],
            later: &[],
        },
    ),
    done("create_host_path", &Shape::Bool),
    done(
        "recursive",
        &Shape::OneOf {
            good: &["enabled", "disabled", "writable", "readonly"],
            later: &[],
        },
    ),
];
