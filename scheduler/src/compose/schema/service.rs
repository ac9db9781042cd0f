//! The attributes of a service.

use super::attach::{NETWORKS, PORTS};
use super::build::{BUILD, BUILD_SECRET};
use super::deploy::DEPLOY;
use super::develop::{DEVELOP, HOOKS, INIT_CONTAINERS};
use super::device::{BLKIO, DEVICES, REQUESTS};
use super::mount::VOLUMES;
use super::{
    ANY_INT, Attribute, COUNT, Form, HOSTS, LABELS, ONE_OR_MORE, Shape, TEXT_MAP, TEXT_SET, TEXTS,
    Union, VARIABLES, done, ignored, later, windows_only,
};
use crate::compose::merge::merge_logging;
use crate::compose::short;

pub(in crate::compose) static SERVICE: Shape = Shape::Object(ATTRIBUTES);

pub(in crate::compose) static ATTRIBUTES: &[Attribute] = &[
    done("profiles", &TEXT_SET),
    done("annotations", &LABELS),
    done("attach", &Shape::Bool),
    // Not done yet; the consistency check knows whether there is an image to use instead.
    done("build", &BUILD),
    done("develop", &DEVELOP),
    done("blkio_config", &Shape::Object(BLKIO)),
    done("cap_add", &TEXT_SET),
    done("cap_drop", &TEXT_SET),
    done("cgroup_parent", &Shape::Text),
    done(
        "cgroup",
        &Shape::OneOf {
            good: &["host", "private"],
            later: &[],
        },
    ),
    windows_only("cpu_count", &COUNT),
    windows_only("cpu_percent", &Shape::Float),
    done("cpu_period", &MICROSECONDS),
    done(
        "cpu_quota",
        &Shape::Form(Form {
            short: short::microseconds,
            long: &ANY_INT,
        }),
    ),
    done("cpu_rt_period", &MICROSECONDS),
    done("cpu_rt_runtime", &MICROSECONDS),
    done("cpus", &Shape::Float),
    done("cpuset", &Shape::Text),
    done("cpu_shares", &COUNT),
    done("command", &COMMAND),
    done(
        "configs",
        &Shape::List {
            item: &CONFIG_GRANT,
            union: Union::By(short::grant_target),
        },
    ),
    done("container_name", &Shape::Text),
    windows_only(
        "credential_spec",
        &Shape::Object(&[
            done("config", &Shape::Text),
            done("file", &Shape::Text),
            done("registry", &Shape::Text),
        ]),
    ),
    done(
        "depends_on",
        &Shape::Form(Form {
            short: short::depends_on,
            long: &Shape::Map(&DEPENDENCY),
        }),
    ),
    done("deploy", &DEPLOY),
    done("device_cgroup_rules", &TEXT_SET),
    done("devices", &DEVICES),
    done("dns", &ONE_OR_MORE),
    done("dns_opt", &ONE_OR_MORE),
    done("dns_search", &ONE_OR_MORE),
    done("domainname", &Shape::Text),
    done("entrypoint", &COMMAND),
    later(
        "provider",
        &Shape::Object(&[
            done("type", &Shape::Text),
            done("options", &Shape::Map(&ONE_OR_MORE)),
        ]),
        "run the program before `up`, and hand on what it tells with `environment`",
    ),
    done("environment", &VARIABLES),
    done(
        "env_file",
        &Shape::Form(Form {
            short: short::env_file,
            long: &Shape::List {
                item: &ENV_FILE,
                union: Union::By(short::path),
            },
        }),
    ),
    done(
        "expose",
        &Shape::List {
            item: &Shape::Text,
            union: Union::Values,
        },
    ),
    done(
        "extends",
        &Shape::Form(Form {
            short: short::extends,
            long: &Shape::Object(EXTENDS),
        }),
    ),
    later(
        "external_links",
        &TEXT_SET,
        "connect both services to one external network",
    ),
    done("extra_hosts", &HOSTS),
    done("group_add", &TEXTS),
    done("gpus", &REQUESTS),
    done("hostname", &Shape::Text),
    done("healthcheck", &Shape::Object(HEALTHCHECK)),
    done("image", &Shape::Text),
    done("init", &Shape::Bool),
    done("ipc", &Shape::Text),
    windows_only("isolation", &Shape::Text),
    done("labels", &LABELS),
    done(
        "label_file",
        &Shape::Form(Form {
            short: short::one_or_more,
            long: &LABEL_FILES,
        }),
    ),
    done("links", &TEXT_SET),
    done(
        "logging",
        &Shape::Merged(
            merge_logging,
            &Shape::Object(&[done("driver", &Shape::Text), done("options", &TEXT_MAP)]),
        ),
    ),
    done("mem_limit", &Shape::Size),
    done("mem_reservation", &Shape::Size),
    done("memswap_limit", &Shape::Size),
    done("mem_swappiness", &Shape::Size),
    done("mac_address", &Shape::Text),
    later(
        "models",
        &Shape::Form(Form {
            short: short::keys,
            long: &Shape::Map(&Shape::Object(&[
                done("endpoint_var", &Shape::Text),
                done("model_var", &Shape::Text),
            ])),
        }),
        "",
    ),
    done("network_mode", &Shape::Text),
    done("networks", &NETWORKS),
    done("oom_kill_disable", &Shape::Bool),
    done("oom_score_adj", &ANY_INT),
    done("pid", &Shape::Text),
    done("pids_limit", &ANY_INT),
    done("platform", &Shape::Text),
    done("ports", &PORTS),
    done("privileged", &Shape::Bool),
    done(
        "pull_policy",
        &Shape::Form(Form {
            short: short::pull_policy,
            long: &Shape::Text,
        }),
    ),
    done("read_only", &Shape::Bool),
    done("restart", &Shape::Text),
    // Whether it means our own is known to whoever resolves it.
    done("runtime", &Shape::Text),
    done("scale", &COUNT),
    done(
        "secrets",
        &Shape::List {
            item: &SECRET_GRANT,
            union: Union::By(short::grant_target),
        },
    ),
    done("security_opt", &TEXT_SET),
    done("shm_size", &Shape::Size),
    done("stdin_open", &Shape::Bool),
    done("stop_grace_period", &Shape::Duration),
    done("stop_signal", &Shape::Text),
    later(
        "storage_opt",
        &TEXT_MAP,
        "overlayfs cannot limit what a container writes; use volumes, or `tmpfs` with a size",
    ),
    done("sysctls", &VARIABLES),
    done("tmpfs", &ONE_OR_MORE),
    done("tty", &Shape::Bool),
    done("ulimits", &ULIMITS),
    ignored(
        "use_api_socket",
        &Shape::Bool,
        "mount the node's socket under `volumes`",
    ),
    done("user", &Shape::Text),
    done(
        "userns_mode",
        &Shape::OneOf {
            good: &["host"],
            later: &[],
        },
    ),
    done(
        "uts",
        &Shape::OneOf {
            good: &["host"],
            later: &[],
        },
    ),
    done("volumes", &VOLUMES),
    done("volumes_from", &TEXT_SET),
    done("working_dir", &Shape::Text),
    done("pre_start", &INIT_CONTAINERS),
    done("post_start", &HOOKS),
    done("pre_stop", &HOOKS),
];

pub(super) static COMMAND: Shape = Shape::Form(Form {
    short: short::command,
    long: &Shape::List {
        item: &Shape::Text,
        union: Union::Replace,
    },
});

static LABEL_FILES: Shape = Shape::List {
    item: &Shape::Path,
    union: Union::Values,
};

static DEPENDENCY: Shape = Shape::Object(&[
    done(
        "condition",
        &Shape::OneOf {
            good: &[
                "service_started",
                "service_healthy",
                "service_completed_successfully",
            ],
            later: &[],
        },
    ),
    done("restart", &Shape::Bool),
    done("required", &Shape::Bool),
]);

static ENV_FILE: Shape = Shape::Object(&[
    done("path", &Shape::Path),
    done("required", &Shape::Bool),
    done(
        "format",
        &Shape::OneOf {
            good: &["raw"],
            later: &[],
        },
    ),
]);

static EXTENDS: &[Attribute] = &[done("file", &Shape::Path), done("service", &Shape::Text)];

static HEALTHCHECK: &[Attribute] = &[
    done(
        "test",
        &Shape::Form(Form {
            short: short::health_test,
            long: &Shape::List {
                item: &Shape::Text,
                union: Union::Replace,
            },
        }),
    ),
    done("timeout", &Shape::Duration),
    done("interval", &Shape::Duration),
    done("retries", &COUNT),
    done("start_period", &Shape::Duration),
    done("start_interval", &Shape::Duration),
    done("disable", &Shape::Bool),
];

pub(super) static GRANT: &[Attribute] = &[
    done("source", &Shape::Text),
    done("target", &Shape::Text),
    done("uid", &Shape::Text),
    done("gid", &Shape::Text),
    done("mode", &Shape::Mode),
];

static SECRET_GRANT: Shape = Shape::Form(Form {
    short: short::secret_grant,
    long: &Shape::Object(GRANT),
});
static CONFIG_GRANT: Shape = Shape::Form(Form {
    short: short::config_grant,
    long: &Shape::Object(GRANT),
});

pub(super) static ENTITLED_SECRETS: Shape = Shape::List {
    item: &BUILD_SECRET,
    union: Union::By(short::grant_target),
};

pub(super) static ULIMITS: Shape = Shape::Map(&Shape::Either(&ANY_INT, &Shape::Object(ULIMIT)));

static ULIMIT: &[Attribute] = &[done("soft", &ANY_INT), done("hard", &ANY_INT)];

/// A number of microseconds, or a duration.
static MICROSECONDS: Shape = Shape::Form(Form {
    short: short::microseconds,
    long: &COUNT,
});
