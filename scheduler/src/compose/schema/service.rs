//! The attributes of a service.

use super::deploy::DEPLOY;
use super::{
    ANY_INT, Attribute, COUNT, Form, LABELS, ONE_OR_MORE, Shape, TEXT_MAP, TEXT_SET, TEXTS, Union,
    VARIABLES, done, ignored, refused, windows_only,
};
use crate::compose::merge::{merge_logging, replace};
use crate::compose::short::{self, device, port, volume};

pub(in crate::compose) static SERVICE: Shape = Shape::Object(ATTRIBUTES);

static ATTRIBUTES: &[Attribute] = &[
    done("profiles", &TEXT_SET),
    done("annotations", &LABELS),
    done("attach", &Shape::Bool),
    // Not done yet; the consistency check knows whether there is an image to use instead.
    done("build", &Shape::Any),
    ignored("develop", "wharfie does not watch files yet"),
    done(
        "blkio_config",
        &Shape::Object(&[
            done("weight", &COUNT),
            refused("weight_device", ""),
            refused("device_read_bps", ""),
            refused("device_read_iops", ""),
            refused("device_write_bps", ""),
            refused("device_write_iops", ""),
        ]),
    ),
    done("cap_add", &TEXT_SET),
    done("cap_drop", &TEXT_SET),
    done("cgroup_parent", &Shape::Text),
    done(
        "cgroup",
        &Shape::OneOf {
            good: &["host", "private"],
            refused: &[],
        },
    ),
    windows_only("cpu_count"),
    windows_only("cpu_percent"),
    done(
        "cpu_period",
        &Shape::Form(Form {
            short: short::microseconds,
            long: &COUNT,
        }),
    ),
    done(
        "cpu_quota",
        &Shape::Form(Form {
            short: short::microseconds,
            long: &ANY_INT,
        }),
    ),
    refused("cpu_rt_period", ""),
    refused("cpu_rt_runtime", ""),
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
    refused("credential_spec", "it is for Windows containers"),
    done(
        "depends_on",
        &Shape::Form(Form {
            short: short::depends_on,
            long: &Shape::Map(&DEPENDENCY),
        }),
    ),
    done("deploy", &DEPLOY),
    done("device_cgroup_rules", &TEXT_SET),
    done(
        "devices",
        &Shape::List {
            item: &DEVICE,
            union: Union::By(short::target),
        },
    ),
    done("dns", &ONE_OR_MORE),
    done("dns_opt", &ONE_OR_MORE),
    done("dns_search", &ONE_OR_MORE),
    done("domainname", &Shape::Text),
    done("entrypoint", &COMMAND),
    refused("provider", ""),
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
    refused(
        "external_links",
        "connect both services to one external network",
    ),
    done(
        "extra_hosts",
        &Shape::Form(Form {
            short: short::extra_hosts,
            long: &TEXT_SET,
        }),
    ),
    done("group_add", &TEXTS),
    refused("gpus", "name device files under `devices`"),
    done("hostname", &Shape::Text),
    done("healthcheck", &Shape::Object(HEALTHCHECK)),
    done("image", &Shape::Text),
    done("init", &Shape::Bool),
    done("ipc", &Shape::Text),
    windows_only("isolation"),
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
    refused("models", ""),
    done("network_mode", &Shape::Text),
    done(
        "networks",
        &Shape::Form(Form {
            short: short::keys,
            long: &Shape::Map(&Shape::Object(ATTACHMENT)),
        }),
    ),
    done("oom_kill_disable", &Shape::Bool),
    done("oom_score_adj", &ANY_INT),
    done("pid", &Shape::Text),
    done("pids_limit", &ANY_INT),
    done("platform", &Shape::Text),
    done(
        "ports",
        &Shape::Form(Form {
            short: port::ports,
            long: &Shape::List {
                item: &Shape::Object(PORT),
                union: Union::By(port::identity),
            },
        }),
    ),
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
    refused(
        "runtime",
        "Remove it: containers run under wharfie's own runtime.",
    ),
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
    refused("storage_opt", ""),
    done("sysctls", &VARIABLES),
    done("tmpfs", &ONE_OR_MORE),
    done("tty", &Shape::Bool),
    done(
        "ulimits",
        &Shape::Map(&Shape::Either(&ANY_INT, &Shape::Object(ULIMIT))),
    ),
    refused("use_api_socket", ""),
    done("user", &Shape::Text),
    done(
        "userns_mode",
        &Shape::OneOf {
            good: &["host"],
            refused: &[],
        },
    ),
    done(
        "uts",
        &Shape::OneOf {
            good: &["host"],
            refused: &[],
        },
    ),
    done(
        "volumes",
        &Shape::List {
            item: &VOLUME,
            union: Union::By(volume::identity),
        },
    ),
    refused(
        "volumes_from",
        "name the shared volumes under `volumes` in both services",
    ),
    done("working_dir", &Shape::Text),
    refused("pre_start", ""),
    refused("post_start", ""),
    refused("pre_stop", ""),
];

static COMMAND: Shape = Shape::Form(Form {
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
            refused: &[],
        },
    ),
    done("restart", &Shape::Bool),
    done("required", &Shape::Bool),
]);

static DEVICE: Shape = Shape::Form(Form {
    short: device::device,
    long: &Shape::Object(&[
        done("source", &Shape::Text),
        done("target", &Shape::Text),
        done("permissions", &Shape::Text),
    ]),
});

static ENV_FILE: Shape = Shape::Object(&[
    done("path", &Shape::Path),
    done("required", &Shape::Bool),
    done(
        "format",
        &Shape::OneOf {
            good: &["raw"],
            refused: &[],
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

static ATTACHMENT: &[Attribute] = &[
    done("aliases", &TEXT_SET),
    ignored("driver_opts", "no network driver reads it"),
    done("gw_priority", &ANY_INT),
    done("interface_name", &Shape::Text),
    done("ipv4_address", &Shape::Text),
    refused("ipv6_address", "Networks are IPv4 only so far."),
    refused("link_local_ips", ""),
    done("mac_address", &Shape::Text),
    done("priority", &ANY_INT),
];

static PORT: &[Attribute] = &[
    done("name", &Shape::Text),
    done(
        "mode",
        &Shape::OneOf {
            good: &["ingress", "host"],
            refused: &[],
        },
    ),
    done("host_ip", &Shape::Text),
    done("target", &Shape::Int { min: Some(1) }),
    done("published", &Shape::Text),
    done(
        "protocol",
        &Shape::OneOf {
            good: &["tcp", "udp"],
            refused: &["sctp"],
        },
    ),
    done("app_protocol", &Shape::Text),
];

static GRANT: &[Attribute] = &[
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

static ULIMIT: &[Attribute] = &[done("soft", &ANY_INT), done("hard", &ANY_INT)];

static VOLUME: Shape = Shape::Merged(
    replace,
    &Shape::Form(Form {
        short: volume::volume,
        long: &Shape::Object(&[
            done(
                "type",
                &Shape::OneOf {
                    good: &["volume", "bind", "tmpfs"],
                    refused: &["image", "npipe", "cluster"],
                },
            ),
            done("source", &Shape::Text),
            done("target", &Shape::Text),
            done("read_only", &Shape::Bool),
            ignored("consistency", "only Docker Desktop honours it"),
            done(
                "bind",
                &Shape::Object(&[
                    done("selinux", &Shape::Text),
                    done("propagation", &PROPAGATION),
                    done("create_host_path", &Shape::Bool),
                    done(
                        "recursive",
                        &Shape::OneOf {
                            good: &["enabled", "disabled"],
                            refused: &["writable", "readonly"],
                        },
                    ),
                ]),
            ),
            done(
                "volume",
                &Shape::Object(&[
                    ignored(
                        "labels",
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
            refused("image", ""),
        ]),
    }),
);

static PROPAGATION: Shape = Shape::OneOf {
    good: &[
        "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ],
    refused: &[],
};
