//! `develop`, and the commands that accompany a container's life.

use super::service::COMMAND;
use super::{Attribute, Form, Shape, Union, VARIABLES, done};
use crate::compose::short;

pub(super) static DEVELOP: Shape = Shape::Object(&[done(
    "watch",
    &Shape::List {
        item: &Shape::Object(WATCH),
        union: Union::Append,
    },
)]);

static WATCH: &[Attribute] = &[
    done("path", &Shape::Path),
    done(
        "action",
        &Shape::OneOf {
            good: &["rebuild", "sync", "restart", "sync+restart", "sync+exec"],
            later: &[],
        },
    ),
    done("target", &Shape::Text),
    done("exec", &HOOK),
    done("include", &PATTERNS),
    done("ignore", &PATTERNS),
    done("initial_sync", &Shape::Bool),
];

/// Patterns in their order: a later one may take back what an earlier one says.
static PATTERNS: Shape = Shape::Form(Form {
    short: short::one_or_more,
    long: &super::TEXTS,
});

pub(super) static HOOKS: Shape = Shape::List {
    item: &HOOK,
    union: Union::Append,
};

static HOOK: Shape = Shape::Object(&[
    done("command", &COMMAND),
    done("user", &Shape::Text),
    done("privileged", &Shape::Bool),
    done("working_dir", &Shape::Text),
    done("environment", &VARIABLES),
]);

pub(super) static INIT_CONTAINERS: Shape = Shape::List {
    item: &Shape::Object(&[
        done("command", &COMMAND),
        done("image", &Shape::Text),
        done("user", &Shape::Text),
        done("privileged", &Shape::Bool),
        done("working_dir", &Shape::Text),
        done("environment", &VARIABLES),
        done("per_replica", &Shape::Bool),
    ]),
    union: Union::Append,
};
