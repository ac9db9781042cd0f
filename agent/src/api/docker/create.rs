//! From Docker's create body to a service of one.
//!
//! Pure: names of networks and the image's exposed ports come in with [`Surroundings`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scheduler::model::container::{
    ContainerSpec, Device, HealthTest, Healthcheck, HostAddress, LogDriver, Logging, NamespaceMode,
    NetworkAttachment, NetworkMode, PullPolicy, Resources, SeccompProfile, Security, Ulimit,
};
use scheduler::model::service::{RestartCondition, RestartPolicy, ServiceMode, ServiceSpec};

use super::config::{
    Config, CreateBody, EndpointConfig, HealthConfig, HostConfig, LogConfig, bytes,
};
use super::{mounts, ports};
use crate::api::error::{EngineError, bad};

/// The name of wharfie's own runtime in `info` and `inspect`.
pub(crate) const OWN_RUNTIME: &str = "wharfie";

/// The network of containers that name none.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// Docker's lower bound of a memory limit, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;

/// What the translation must know besides the body.
pub(crate) struct Surroundings<'a> {
    /// The final name of a network, from a name or an identifier.
    pub(crate) network: &'a dyn Fn(&str) -> Option<String>,
    /// `80/tcp`, for `PublishAllPorts`.
    pub(crate) image_ports: &'a [String],
}

/// Reads a create body as a container made on its own.
///
/// # Errors
///
/// [`EngineError::BadRequest`] for what makes no sense, and [`EngineError::NotImplemented`] for what
/// wharfie does not have, each saying which field it is.
pub(crate) fn service(
    name: Option<&str>,
    body: &CreateBody,
    around: &Surroundings<'_>,
) -> Result<ServiceSpec, EngineError> {
    let (config, host) = (&body.config, &body.host_config);
    if config.image.is_empty() {
        return Err(bad("no image was given: `Image` is empty"));
    }
    refuse_unknown(host)?;
    let spec = ContainerSpec {
        network: network(body, around)?,
        ports: ports::read(host, around.image_ports)?,
        mounts: mounts::read(config, host)?,
        ..container(config, host)?
    };
    Ok(ServiceSpec {
        name: name.unwrap_or_default().to_owned(),
        container: Arc::new(spec),
        mode: ServiceMode::Standalone {
            auto_remove: host.auto_remove,
        },
        restart: restart(host)?,
        ..ServiceSpec::default()
    })
}

/// Refuses what would silently do less than was asked for.
fn refuse_unknown(host: &HostConfig) -> Result<(), EngineError> {
    let asked = [
        (
            "VolumesFrom",
            host.volumes_from
                .as_ref()
                .is_some_and(|from| !from.is_empty()),
        ),
        (
            "DeviceRequests",
            host.device_requests
                .as_ref()
                .is_some_and(|list| !list.is_empty()),
        ),
        ("BlkioWeightDevice", !host.blkio_weight_device.is_empty()),
        ("BlkioDeviceReadBps", !host.blkio_device_read_bps.is_empty()),
        (
            "BlkioDeviceWriteBps",
            !host.blkio_device_write_bps.is_empty(),
        ),
        (
            "BlkioDeviceReadIOps",
            !host.blkio_device_read_iops.is_empty(),
        ),
        (
            "BlkioDeviceWriteIOps",
            !host.blkio_device_write_iops.is_empty(),
        ),
        (
            "Runtime",
            !matches!(host.runtime.as_str(), "" | OWN_RUNTIME | "runc"),
        ),
        ("StorageOpt", !host.storage_opt.is_empty()),
        (
            "Links",
            host.links.as_ref().is_some_and(|links| !links.is_empty()),
        ),
        (
            "UsernsMode",
            !matches!(host.userns_mode.as_str(), "" | "host"),
        ),
        (
            "VolumeDriver",
            !matches!(host.volume_driver.as_str(), "" | "local"),
        ),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(EngineError::NotImplemented(format!(
            "`HostConfig.{field}` is not supported by wharfie"
        ))),
        None => Ok(()),
    }
}

fn container(config: &Config, host: &HostConfig) -> Result<ContainerSpec, EngineError> {
    let dns = host
        .dns
        .iter()
        .map(|server| address(server))
        .collect::<Result<_, _>>()?;
    let lines = host.extra_hosts.iter().flatten();
    let limit = |limit: &super::config::Ulimit| {
        (
            limit.name.clone(),
            Ulimit {
                soft: limit.soft,
                hard: limit.hard,
            },
        )
    };
    Ok(ContainerSpec {
        image: config.image.clone(),
        pull_policy: PullPolicy::Missing,
        entrypoint: config.entrypoint.clone().map(|words| words.0),
        command: config
            .cmd
            .clone()
            .map(|words| words.0)
            .filter(|words| !words.is_empty()),
        environment: environment(config.env.as_deref().unwrap_or_default()),
        working_dir: text(&config.working_dir),
        user: text(&config.user),
        group_add: host.group_add.clone().unwrap_or_default(),
        hostname: text(&config.hostname),
        domainname: text(&config.domainname),
        labels: config.labels.clone().unwrap_or_default(),
        annotations: host.annotations.clone(),
        tty: config.tty,
        stdin_open: config.open_stdin,
        stdin_once: config.stdin_once,
        init: host.init.unwrap_or_default(),
        stop_signal: text(&config.stop_signal),
        stop_grace: config.stop_timeout.map(grace),
        expose: config.exposed_ports.keys().cloned().collect(),
        dns,
        dns_search: host.dns_search.clone(),
        dns_options: host.dns_options.clone(),
        extra_hosts: lines
            .map(|line| extra_host(line))
            .collect::<Result<_, _>>()?,
        read_only: host.readonly_rootfs,
        shm_size: Some(host.shm_size).filter(|size| *size > 0),
        healthcheck: config.healthcheck.as_ref().map(healthcheck).transpose()?,
        logging: logging(&host.log_config)?,
        resources: resources(host)?,
        ulimits: host.ulimits.iter().map(limit).collect(),
        sysctls: host.sysctls.clone(),
        devices: host.devices.iter().map(device).collect(),
        device_cgroup_rules: host.device_cgroup_rules.clone().unwrap_or_default(),
        cap_add: host.cap_add.clone().unwrap_or_default(),
        cap_drop: host.cap_drop.clone().unwrap_or_default(),
        privileged: host.privileged,
        security: security(host)?,
        ipc: namespace("IpcMode", &host.ipc_mode)?,
        pid: namespace("PidMode", &host.pid_mode)?,
        uts: namespace("UTSMode", &host.uts_mode)?,
        cgroup: namespace("CgroupnsMode", &host.cgroupns_mode)?,
        cgroup_parent: text(&host.cgroup_parent),
        oom_score_adj: Some(host.oom_score_adj).filter(|score| *score != 0),
        oom_kill_disable: host.oom_kill_disable,
        ..ContainerSpec::default()
    })
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn address(text: &str) -> Result<std::net::IpAddr, EngineError> {
    text.parse()
        .map_err(|_| bad(format!("invalid IP address: {text}")))
}

/// Seconds; a negative number is "never", which is as good as a year.
fn grace(seconds: i64) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    u64::try_from(seconds).map_or(YEAR, Duration::from_secs)
}

fn environment(lines: &[String]) -> BTreeMap<String, Option<String>> {
    let entry = |line: &String| match line.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (line.clone(), None),
    };
    lines.iter().map(entry).collect()
}

/// `name:address` or `name=address`; the address may hold colons itself.
fn extra_host(line: &str) -> Result<(String, HostAddress), EngineError> {
    let (name, target) = line
        .split_once(['=', ':'])
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| bad(format!("bad format for add-host: \"{line}\"")))?;
    let bare = target.trim_start_matches('[').trim_end_matches(']');
    let target = match bare {
        "host-gateway" => HostAddress::Gateway,
        other => HostAddress::Address(address(other)?),
    };
    Ok((name.to_owned(), target))
}

fn healthcheck(config: &HealthConfig) -> Result<Healthcheck, EngineError> {
    let test = match config
        .test
        .split_first()
        .map(|(kind, rest)| (kind.as_str(), rest))
    {
        None => None,
        Some(("NONE", _)) => Some(HealthTest::Disabled),
        Some(("CMD", words)) => Some(HealthTest::Command(words.to_vec())),
        Some(("CMD-SHELL", [line])) => Some(HealthTest::Shell(line.clone())),
        Some((kind, _)) => return Err(bad(format!("invalid health check test: `{kind}`"))),
    };
    let duration = |nanos: u64| (nanos > 0).then(|| Duration::from_nanos(nanos));
    Ok(Healthcheck {
        test,
        interval: duration(config.interval),
        timeout: duration(config.timeout),
        retries: Some(config.retries).filter(|retries| *retries > 0),
        start_period: duration(config.start_period),
        start_interval: duration(config.start_interval),
    })
}

fn logging(config: &LogConfig) -> Result<Logging, EngineError> {
    let driver = match config.r#type.as_str() {
        "" | "json-file" | "local" => LogDriver::File,
        "none" => LogDriver::None,
        other => {
            return Err(bad(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    };
    let option = |name: &str| config.config.get(name);
    let max_size = option("max-size")
        .map(|size| bytes(size).ok_or_else(|| bad(format!("invalid size: '{size}'"))))
        .transpose()?;
    let max_file = option("max-file")
        .map(|count| {
            count
                .parse()
                .map_err(|_| bad(format!("invalid max-file: '{count}'")))
        })
        .transpose()?;
    Ok(Logging {
        driver,
        max_size,
        max_file,
        requested: text(&config.r#type),
    })
}

fn resources(host: &HostConfig) -> Result<Resources, EngineError> {
    if (1..LEAST_MEMORY).contains(&host.memory) {
        return Err(bad("Minimum memory limit allowed is 6MB"));
    }
    if host.nano_cpus > 0 && (host.cpu_quota != 0 || host.cpu_period != 0) {
        return Err(bad(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ));
    }
    let some = |number: u64| Some(number).filter(|number| *number > 0);
    Ok(Resources {
        cpu_limit_millis: some(host.nano_cpus / 1_000_000),
        cpu_reservation_millis: None,
        memory_limit: some(host.memory),
        memory_reservation: some(host.memory_reservation),
        generic_reservations: BTreeMap::new(),
        memory_swap: Some(host.memory_swap).filter(|swap| *swap != 0),
        memory_swappiness: host
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        pids_limit: host.pids_limit.filter(|limit| *limit != 0),
        cpu_shares: some(host.cpu_shares),
        cpu_period: some(host.cpu_period),
        cpu_quota: Some(host.cpu_quota).filter(|quota| *quota != 0),
        cpu_rt_period: some(host.cpu_realtime_period),
        cpu_rt_runtime: some(host.cpu_realtime_runtime).and_then(|it| i64::try_from(it).ok()),
        cpuset: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        blkio_weight: Some(host.blkio_weight).filter(|weight| *weight > 0),
        block_devices: Vec::new(),
    })
}

fn device(mapping: &super::config::DeviceMapping) -> Device {
    let or = |value: &str, default: &str| text(value).unwrap_or_else(|| default.to_owned());
    Device {
        source: mapping.path_on_host.clone(),
        target: or(&mapping.path_in_container, &mapping.path_on_host),
        permissions: or(&mapping.cgroup_permissions, "rwm"),
    }
}

fn security(host: &HostConfig) -> Result<Security, EngineError> {
    let mut security = Security {
        // How the docker CLI sends `systempaths=unconfined`, and how inspect says it.
        unconfined_system_paths: host.masked_paths.as_ref().is_some_and(Vec::is_empty)
            && host.readonly_paths.as_ref().is_some_and(Vec::is_empty),
        ..Security::default()
    };
    for option in host.security_opt.iter().flatten() {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = Some(true),
            ("no-new-privileges", "false") => security.no_new_privileges = Some(false),
            ("seccomp", "unconfined") => security.seccomp = SeccompProfile::Unconfined,
            ("seccomp", "builtin") => security.seccomp = SeccompProfile::Default,
            ("seccomp", profile) => security.seccomp = SeccompProfile::Custom(profile.to_owned()),
            ("apparmor", profile) => security.apparmor = text(profile),
            ("systempaths", "unconfined") => security.unconfined_system_paths = true,
            // There is no SELinux; Docker without it ignores labels as well.
            ("label", _) => {}
            _ => return Err(bad(format!("invalid --security-opt 1: \"{option}\""))),
        }
    }
    Ok(security)
}

fn namespace(field: &str, mode: &str) -> Result<NamespaceMode, EngineError> {
    Ok(match mode {
        "" | "private" => NamespaceMode::Private,
        "host" => NamespaceMode::Host,
        "shareable" => NamespaceMode::Shareable,
        other => match other
            .strip_prefix("container:")
            .filter(|name| !name.is_empty())
        {
            Some(container) => NamespaceMode::Container(container.to_owned()),
            None => return Err(bad(format!("invalid `HostConfig.{field}`: {other}"))),
        },
    })
}

fn restart(host: &HostConfig) -> Result<RestartPolicy, EngineError> {
    let policy = &host.restart_policy;
    let condition = match policy.name.as_str() {
        "" | "no" => RestartCondition::Never,
        "always" => RestartCondition::Always,
        "unless-stopped" => RestartCondition::UnlessStopped,
        "on-failure" => RestartCondition::OnFailure,
        other => return Err(bad(format!("invalid restart policy '{other}'"))),
    };
    if host.auto_remove && condition != RestartCondition::Never {
        return Err(bad(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    let max_attempts = policy.maximum_retry_count;
    Ok(RestartPolicy {
        condition,
        max_attempts,
        ..RestartPolicy::default()
    })
}

fn network(body: &CreateBody, around: &Surroundings<'_>) -> Result<NetworkMode, EngineError> {
    let mode = body.host_config.network_mode.as_str();
    let wanted = &body.networking_config.endpoints_config;
    match mode.split_once(':') {
        None if mode == "host" => return Ok(NetworkMode::Host),
        None if mode == "none" => return Ok(NetworkMode::None),
        Some(("container", name)) => return Ok(NetworkMode::Container(name.to_owned())),
        _ => {}
    }
    let first = final_name(mode, around)?;
    let endpoint = wanted.get(mode).or_else(|| wanted.get(&first));
    let mut attachments = vec![attachment(&first, endpoint)?];
    for (name, endpoint) in wanted {
        let name = final_name(name, around)?;
        if name != first {
            attachments.push(attachment(&name, Some(endpoint))?);
        }
    }
    if let ([only], mac @ Some(_)) = (attachments.as_mut_slice(), text(&body.config.mac_address)) {
        only.mac_address = mac;
    }
    Ok(NetworkMode::Attached(attachments))
}

fn final_name(network: &str, around: &Surroundings<'_>) -> Result<String, EngineError> {
    match network {
        "" | "default" | DEFAULT_NETWORK => Ok(DEFAULT_NETWORK.to_owned()),
        other => {
            (around.network)(other).ok_or_else(|| EngineError::NoSuchNetwork(other.to_owned()))
        }
    }
}

fn attachment(
    network: &str,
    endpoint: Option<&EndpointConfig>,
) -> Result<NetworkAttachment, EngineError> {
    let mut attachment = NetworkAttachment {
        network: network.to_owned(),
        ..NetworkAttachment::default()
    };
    let Some(endpoint) = endpoint else {
        return Ok(attachment);
    };
    if let Some(wanted) = text(&endpoint.ipam_config.ipv4_address) {
        let parsed = wanted
            .parse()
            .map_err(|_| bad(format!("invalid IPv4 address: {wanted}")))?;
        attachment.ipv4_address = Some(parsed);
    }
    if let Some(wanted) = text(&endpoint.ipam_config.ipv6_address) {
        let parsed = wanted
            .parse()
            .map_err(|_| bad(format!("invalid IPv6 address: {wanted}")))?;
        attachment.ipv6_address = Some(parsed);
    }
    let link_local = endpoint.ipam_config.link_local_ips.iter();
    attachment.link_local_ips = link_local.map(|it| address(it)).collect::<Result<_, _>>()?;
    attachment.aliases.clone_from(&endpoint.aliases);
    attachment.mac_address = text(&endpoint.mac_address);
    attachment.gateway_priority = endpoint.gw_priority;
    Ok(attachment)
}

#[cfg(test)]
mod tests;
