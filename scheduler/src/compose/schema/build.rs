//! `build`: how a service's image is made.

use super::service::{ENTITLED_SECRETS, ULIMITS};
use super::{Attribute, Form, HOSTS, LABELS, Shape, TEXT_SET, VARIABLES, done, windows_only};
use crate::compose::short;
use crate::compose::short::build as words;

pub(super) static BUILD: Shape = Shape::Form(Form {
    short: words::build,
    long: &Shape::Object(ATTRIBUTES),
});

static ATTRIBUTES: &[Attribute] = &[
    done("context", &Shape::Text),
    done("dockerfile", &Shape::Text),
    done("dockerfile_inline", &Shape::Text),
    done("entitlements", &TEXT_SET),
    done("args", &VARIABLES),
    done("provenance", &Shape::Text),
    done("sbom", &Shape::Text),
    done(
        "ssh",
        &Shape::Form(Form {
            short: words::ssh,
            long: &TEXT_SET,
        }),
    ),
    done("labels", &LABELS),
    done("cache_from", &TEXT_SET),
    done("cache_to", &TEXT_SET),
    done("no_cache", &Shape::Bool),
    done("no_cache_filter", &super::ONE_OR_MORE),
    done(
        "additional_contexts",
        &Shape::Form(Form {
            short: words::contexts,
            long: &LABELS,
        }),
    ),
    done("pull", &Shape::Bool),
    done("extra_hosts", &HOSTS),
    windows_only("isolation", &Shape::Text),
    done("network", &Shape::Text),
    done("target", &Shape::Text),
    done("secrets", &ENTITLED_SECRETS),
    done("shm_size", &Shape::Size),
    done("tags", &TEXT_SET),
    done("ulimits", &ULIMITS),
    done("platforms", &TEXT_SET),
    done("privileged", &Shape::Bool),
];

/// A grant without the default target: where a secret of a build is seen is up to the Dockerfile.
pub(super) static BUILD_SECRET: Shape = Shape::Form(Form {
    short: short::config_grant,
    long: &Shape::Object(super::service::GRANT),
});
