//! `deploy`: how many, where, and how they are replaced.

use super::device::REQUESTS;
use super::{ANY_INT, Attribute, COUNT, LABELS, Shape, TEXTS, Union, done};

pub(in crate::compose) static DEPLOY: Shape = Shape::Object(&[
    done(
        "mode",
        &Shape::OneOf {
            good: &["replicated", "global", "replicated-job", "global-job"],
            later: &[],
        },
    ),
    done("replicas", &COUNT),
    done("labels", &LABELS),
    done("update_config", &Shape::Object(UPDATE)),
    done("rollback_config", &Shape::Object(ROLLBACK)),
    done(
        "resources",
        &Shape::Object(&[
            done("limits", &Shape::Object(LIMITS)),
            done("reservations", &Shape::Object(RESERVATIONS)),
        ]),
    ),
    done(
        "restart_policy",
        &Shape::Object(&[
            done(
                "condition",
                &Shape::OneOf {
                    good: &["none", "on-failure", "any"],
                    later: &[],
                },
            ),
            done("delay", &Shape::Duration),
            done("max_attempts", &COUNT),
            done("window", &Shape::Duration),
        ]),
    ),
    done(
        "placement",
        &Shape::Object(&[
            done("constraints", &TEXTS),
            done(
                "preferences",
                &Shape::List {
                    item: &Shape::Object(&[done("spread", &Shape::Text)]),
                    union: Union::Append,
                },
            ),
            done("max_replicas_per_node", &COUNT),
        ]),
    ),
    done(
        "endpoint_mode",
        &Shape::OneOf {
            good: &["vip", "dnsrr"],
            later: &[],
        },
    ),
]);

static LIMITS: &[Attribute] = &[
    done("cpus", &Shape::Float),
    done("memory", &Shape::Size),
    done("pids", &ANY_INT),
];

static RESERVATIONS: &[Attribute] = &[
    done("cpus", &Shape::Float),
    done("memory", &Shape::Size),
    done("devices", &REQUESTS),
    done("generic_resources", &GENERIC_RESOURCES),
];

static GENERIC_RESOURCES: Shape = Shape::List {
    item: &Shape::Object(&[done(
        "discrete_resource_spec",
        &Shape::Object(&[done("kind", &Shape::Text), done("value", &COUNT)]),
    )]),
    union: Union::Append,
};

static UPDATE: &[Attribute] = &[
    done("parallelism", &COUNT),
    done("delay", &Shape::Duration),
    done(
        "failure_action",
        &Shape::OneOf {
            good: &["pause", "continue", "rollback"],
            later: &[],
        },
    ),
    done("monitor", &Shape::Duration),
    done("max_failure_ratio", &Shape::Float),
    done("order", &ORDER),
];

static ROLLBACK: &[Attribute] = &[
    done("parallelism", &COUNT),
    done("delay", &Shape::Duration),
    done(
        "failure_action",
        &Shape::OneOf {
            good: &["pause", "continue"],
            later: &[],
        },
    ),
    done("monitor", &Shape::Duration),
    done("max_failure_ratio", &Shape::Float),
    done("order", &ORDER),
];

static ORDER: Shape = Shape::OneOf {
    good: &["stop-first", "start-first"],
    later: &[],
};
