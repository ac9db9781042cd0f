//! A container as Docker tells of it: `GET /containers/{id}/json` and a row of `/containers/json`.
//!
//! Pure: everything comes in with a [`View`].

use std::collections::BTreeMap;

use scheduler::model::container::{
    ContainerSpec, HealthTest, Healthcheck, HostAddress, LogDriver, NamespaceMode, NetworkMode,
    SeccompProfile,
};
use scheduler::model::node::Node;
use scheduler::model::service::{RestartCondition, RestartPolicy, ServiceMode};
use scheduler::model::time::Timestamp;
use scheduler::state::State;
use serde_json::{Value, json};

use super::config::{
    Config, DeviceMapping, Empty, HealthConfig, HostConfig, LogConfig, Ulimit, Words,
};
use super::create::{DEFAULT_NETWORK, OWN_RUNTIME};
use super::facts::{Facts, ImageFacts};
use super::lookup::{Found, created_at};
use super::phase::{Phase, health_word};
use super::{mounts, ports};
use crate::api::time::{rfc3339, rfc3339_or_never, unix_seconds};

/// Everything that is known about one container.
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) found: &'a Found,
    pub(crate) facts: &'a Facts,
    /// See [`labels`].
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) phase: Phase,
    pub(crate) now: Timestamp,
}

/// The whole of it.
pub(crate) fn inspect(view: &View<'_>) -> Value {
    let spec = container_spec(view);
    let words = words(view);
    let task = &view.found.task;
    json!({
        "Id": view.found.id.as_str(),
        "Created": rfc3339(created_at(view.state, view.found)),
        "Path": words.first().cloned().unwrap_or_default(),
        "Args": words.get(1..).unwrap_or_default(),
        "State": state(view),
        "Image": image_id(view),
        "ResolvConfPath": format!("{}/resolv.conf", view.facts.directory),
        "HostnamePath": format!("{}/hostname", view.facts.directory),
        "HostsPath": format!("{}/hosts", view.facts.directory),
        "LogPath": view.facts.log_path,
        "Name": format!("/{}", task.name),
        "Node": node(view).map(|node| json!({
            "ID": node.id.as_str(),
            "Name": node.description.hostname,
        })),
        "RestartCount": task.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if view.facts.execs.is_empty() { Value::Null } else { json!(view.facts.execs) },
        "HostConfig": host_config(view),
        "GraphDriver": { "Data": null, "Name": "overlay2" },
        "Mounts": mount_rows(view),
        "Config": config(view),
        "NetworkSettings": network_settings(view, spec),
    })
}

/// A row of the list.
pub(crate) fn summary(view: &View<'_>) -> Value {
    let spec = container_spec(view);
    let task = &view.found.task;
    let ended = view.found.ended(view.state).map(AsRef::as_ref);
    let ports = match view.phase.is_alive() {
        true => {
            let exposed: Vec<_> = exposed_ports(view).into_keys().collect();
            ports::summary(&spec.ports, &exposed, task)
        }
        false => Vec::new(),
    };
    json!({
        "Id": view.found.id.as_str(),
        "Names": [format!("/{}", task.name)],
        "Node": node(view).map(|node| node.description.hostname.as_str()),
        "Image": spec.image,
        "ImageID": image_id(view),
        "Command": words(view).into_iter().map(quoted).collect::<Vec<_>>().join(" "),
        "Created": unix_seconds(created_at(view.state, view.found)),
        "Ports": ports,
        "Labels": view.labels,
        "State": view.phase.word(),
        "Status": view.phase.sentence(task, ended, view.now),
        "HostConfig": { "NetworkMode": network_mode(spec) },
        "NetworkSettings": { "Networks": networks(view, spec) },
        "Mounts": mount_rows(view),
    })
}

/// Where it is, or was; `None` until a place is found.
fn node<'a>(view: &View<'a>) -> Option<&'a Node> {
    let id = view.found.task.node.as_ref()?;
    view.state.nodes.get(id).map(AsRef::as_ref)
}

/// A word of the command as Docker lists it: in quotes when it has a space.
fn quoted(word: String) -> String {
    match word.contains(' ') {
        true => format!("'{word}'"),
        false => word,
    }
}

fn container_spec<'a>(view: &View<'a>) -> &'a ContainerSpec {
    &view.found.spec().container
}

fn image_id(view: &View<'_>) -> String {
    let recorded = view.found.task.status.image_id.as_deref();
    recorded
        .map(str::to_owned)
        .or_else(|| view.facts.image.as_ref().map(|image| image.id.clone()))
        .unwrap_or_default()
}

/// The image's labels, those of the container, and those that tools look for.
pub(crate) fn labels(
    state: &State,
    found: &Found,
    image: Option<&ImageFacts>,
) -> BTreeMap<String, String> {
    let mut labels = image
        .map(|image| image.defaults.labels.clone())
        .unwrap_or_default();
    labels.extend(scheduler::assignment::build::labels(
        state,
        &found.service,
        found.spec(),
        &found.task,
    ));
    if let (Some(_), Some(image)) = (&found.service.stack, image) {
        labels.insert("com.docker.compose.image".to_owned(), image.id.to_string());
    }
    labels
}

fn state(view: &View<'_>) -> Value {
    let task = &view.found.task;
    let ended = view.found.ended(view.state);
    let last = match view.phase {
        Phase::Running | Phase::Paused => task,
        _ => ended.unwrap_or(task),
    };
    let rejected = last.status.started_at.is_none() && last.status.state.is_terminal();
    let mut state = json!({
        "Status": view.phase.word(),
        "Running": matches!(view.phase, Phase::Running | Phase::Paused | Phase::Restarting),
        "Paused": view.phase == Phase::Paused,
        "Restarting": view.phase == Phase::Restarting,
        "OOMKilled": last.status.oom_killed,
        "Dead": false,
        "Pid": if view.phase.is_alive() { task.status.pid.unwrap_or_default() } else { 0 },
        "ExitCode": last.status.exit_code.unwrap_or_default(),
        "Error": if rejected { last.status.reason.as_str() } else { "" },
        "StartedAt": rfc3339_or_never(last.status.started_at),
        "FinishedAt": rfc3339_or_never(ended.and_then(|task| task.status.finished_at)),
    });
    if let (Some(health), Some(fields)) = (&task.status.health, state.as_object_mut()) {
        let log: Vec<_> = health
            .last_probe
            .iter()
            .map(|output| json!({ "Output": output }))
            .collect();
        fields.insert(
            "Health".into(),
            json!({
                "Status": health_word(health.status),
                "FailingStreak": health.failing_streak,
                "Log": log,
            }),
        );
    }
    state
}

/// Entrypoint and command: its own, or else the image's. An entrypoint of its own takes no command of
/// the image's.
fn program<'a>(view: &View<'a>) -> (Option<&'a Vec<String>>, Option<&'a Vec<String>>) {
    let spec = container_spec(view);
    let image = view.facts.image.as_ref().map(|image| &image.defaults);
    let of_image = image.filter(|_| spec.entrypoint.is_none());
    let entrypoint = spec.entrypoint.as_ref();
    let entrypoint = entrypoint.or(of_image.and_then(|it| it.entrypoint.as_ref()));
    let cmd = spec.command.as_ref();
    let cmd = cmd.or(of_image.and_then(|it| it.cmd.as_ref()));
    let is_there = |words: &&Vec<String>| !words.is_empty();
    (entrypoint.filter(is_there), cmd.filter(is_there))
}

/// What is run, in words.
fn words(view: &View<'_>) -> Vec<String> {
    let (entrypoint, cmd) = program(view);
    let words = entrypoint.into_iter().chain(cmd);
    words.flatten().cloned().collect()
}

/// Exposed by itself or its image, or published.
fn exposed_ports(view: &View<'_>) -> BTreeMap<String, Empty> {
    let spec = container_spec(view);
    let image = view.facts.image.as_ref();
    let of_image = image.into_iter().flat_map(|it| &it.defaults.exposed_ports);
    let published = spec.ports.iter();
    let published = published.map(|port| format!("{}/{}", port.target, port.protocol.as_str()));
    let exposed = spec.expose.iter().chain(of_image).cloned();
    exposed
        .chain(published)
        .map(|port| (port, Empty {}))
        .collect()
}

fn config(view: &View<'_>) -> Config {
    let spec = container_spec(view);
    let image = view.facts.image.as_ref();
    let defaults = image
        .map(|image| image.defaults.clone())
        .unwrap_or_default();
    let mut own = spec.environment.clone();
    own.extend(view.found.task.granted());
    let words = |words: Option<&Vec<String>>| words.cloned().map(Words);
    let (entrypoint, cmd) = program(view);
    let volumes: BTreeMap<_, _> = view
        .facts
        .anonymous
        .keys()
        .map(|target| (target.clone(), Empty {}))
        .collect();
    Config {
        hostname: spec
            .hostname
            .clone()
            .unwrap_or_else(|| view.found.id.short().to_owned()),
        domainname: spec.domainname.clone().unwrap_or_default(),
        user: spec.user.clone().unwrap_or(defaults.user),
        attach_stdin: spec.stdin_open,
        attach_stdout: true,
        attach_stderr: true,
        exposed_ports: exposed_ports(view),
        tty: spec.tty,
        open_stdin: spec.stdin_open,
        stdin_once: spec.stdin_once,
        env: Some(environment(&defaults.env, &own)),
        cmd: words(cmd),
        healthcheck: spec
            .healthcheck
            .as_ref()
            .or(defaults.healthcheck.as_ref())
            .map(health_config),
        image: spec.image.clone(),
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        working_dir: spec.working_dir.clone().unwrap_or(defaults.working_dir),
        entrypoint: words(entrypoint),
        mac_address: String::new(),
        on_build: None,
        labels: Some(view.labels.clone()),
        stop_signal: spec
            .stop_signal
            .clone()
            .or(defaults.stop_signal)
            .unwrap_or_default(),
        stop_timeout: spec
            .stop_grace
            .and_then(|grace| i64::try_from(grace.as_secs()).ok()),
    }
}

/// The image's lines in their order with the container's values, then the container's own.
fn environment(image: &[String], own: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let kept = image
        .iter()
        .filter(|line| !own.contains_key(&key(line)))
        .cloned();
    let set = own
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
    set.chain(kept).collect()
}

pub(super) fn health_config(check: &Healthcheck) -> HealthConfig {
    let nanos = |duration: Option<std::time::Duration>| {
        u64::try_from(duration.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
    };
    let test = match &check.test {
        None => Vec::new(),
        Some(HealthTest::Disabled) => vec!["NONE".to_owned()],
        Some(HealthTest::Shell(line)) => vec!["CMD-SHELL".to_owned(), line.clone()],
        Some(HealthTest::Command(words)) => std::iter::once("CMD".to_owned())
            .chain(words.iter().cloned())
            .collect(),
    };
    HealthConfig {
        test,
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: check.retries.unwrap_or_default(),
    }
}

fn host_config(view: &View<'_>) -> HostConfig {
    let service = view.found.spec();
    let auto_remove = matches!(service.mode, ServiceMode::Standalone { auto_remove: true });
    HostConfig {
        restart_policy: restart_policy(&service.restart),
        auto_remove,
        ..host_config_of(&service.container)
    }
}

/// What create would take to make such a container again.
pub(super) fn host_config_of(spec: &ContainerSpec) -> HostConfig {
    let (binds, points) = mounts::wanted(&spec.mounts);
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let limits = &spec.resources;
    let open_paths = spec.privileged || spec.security.unconfined_system_paths;
    let paths = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        Some(if open_paths { Vec::new() } else { paths })
    };
    HostConfig {
        binds: Some(binds).filter(|binds| !binds.is_empty()),
        mounts: points,
        log_config: log_config(spec),
        network_mode: network_mode(spec),
        port_bindings: ports::wanted(&spec.ports),
        annotations: spec.annotations.clone(),
        cap_add: some(&spec.cap_add),
        cap_drop: some(&spec.cap_drop),
        cgroupns_mode: namespace(&spec.cgroup, "private"),
        dns: spec.dns.iter().map(ToString::to_string).collect(),
        dns_options: spec.dns_options.clone(),
        dns_search: spec.dns_search.clone(),
        extra_hosts: some(&spec.extra_hosts.iter().map(extra_host).collect()),
        group_add: some(&spec.group_add),
        ipc_mode: namespace(&spec.ipc, "private"),
        oom_score_adj: spec.oom_score_adj.unwrap_or_default(),
        pid_mode: namespace(&spec.pid, ""),
        privileged: spec.privileged,
        readonly_rootfs: spec.read_only,
        security_opt: some(&security_options(spec)),
        uts_mode: namespace(&spec.uts, ""),
        shm_size: spec.shm_size.unwrap_or(64 << 20),
        sysctls: spec.sysctls.clone(),
        runtime: OWN_RUNTIME.to_owned(),
        cpu_shares: limits.cpu_shares.unwrap_or_default(),
        memory: limits.memory_limit.unwrap_or_default(),
        nano_cpus: limits
            .cpu_limit_millis
            .unwrap_or_default()
            .saturating_mul(1_000_000),
        cgroup_parent: spec.cgroup_parent.clone().unwrap_or_default(),
        blkio_weight: limits.blkio_weight.unwrap_or_default(),
        cpu_period: limits.cpu_period.unwrap_or_default(),
        cpu_quota: limits.cpu_quota.unwrap_or_default(),
        cpu_realtime_period: limits.cpu_rt_period.unwrap_or_default(),
        cpu_realtime_runtime: limits
            .cpu_rt_runtime
            .and_then(|it| u64::try_from(it).ok())
            .unwrap_or_default(),
        cpuset_cpus: limits.cpuset.clone().unwrap_or_default(),
        cpuset_mems: limits.cpuset_mems.clone().unwrap_or_default(),
        devices: spec.devices.iter().map(device).collect(),
        device_cgroup_rules: some(&spec.device_cgroup_rules),
        memory_reservation: limits.memory_reservation.unwrap_or_default(),
        memory_swap: limits.memory_swap.unwrap_or_default(),
        memory_swappiness: limits
            .memory_swappiness
            .and_then(|value| i64::try_from(value).ok()),
        oom_kill_disable: spec.oom_kill_disable,
        init: spec.init.then_some(true),
        pids_limit: limits.pids_limit,
        ulimits: ulimits(spec),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READONLY),
        ..HostConfig::default()
    }
}

const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

fn ulimits(spec: &ContainerSpec) -> Vec<Ulimit> {
    let limit = |(name, limit): (&String, &scheduler::model::container::Ulimit)| Ulimit {
        name: name.clone(),
        hard: limit.hard,
        soft: limit.soft,
    };
    spec.ulimits.iter().map(limit).collect()
}

fn device(device: &scheduler::model::container::Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: device.source.clone(),
        path_in_container: device.target.clone(),
        cgroup_permissions: device.permissions.clone(),
    }
}

fn log_config(spec: &ContainerSpec) -> LogConfig {
    let logging = &spec.logging;
    let default = match logging.driver {
        LogDriver::File => "json-file",
        LogDriver::None => "none",
    };
    let size = logging
        .max_size
        .map(|size| ("max-size".to_owned(), size.to_string()));
    let files = logging
        .max_file
        .map(|count| ("max-file".to_owned(), count.to_string()));
    LogConfig {
        r#type: logging
            .requested
            .clone()
            .unwrap_or_else(|| default.to_owned()),
        config: size.into_iter().chain(files).collect(),
    }
}

fn restart_policy(policy: &RestartPolicy) -> super::config::RestartPolicy {
    let name = match policy.condition {
        RestartCondition::Never => "no",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Always => "always",
        RestartCondition::UnlessStopped => "unless-stopped",
    };
    super::config::RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: policy.max_attempts,
    }
}

fn network_mode(spec: &ContainerSpec) -> String {
    match &spec.network {
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Container(name) | NetworkMode::Service(name) => format!("container:{name}"),
        NetworkMode::Attached(attachments) => attachments
            .first()
            .map_or(DEFAULT_NETWORK, |attachment| &attachment.network)
            .to_owned(),
    }
}

fn namespace(mode: &NamespaceMode, private: &str) -> String {
    match mode {
        NamespaceMode::Private => private.to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::Container(name) | NamespaceMode::Service(name) => {
            format!("container:{name}")
        }
    }
}

fn extra_host((name, address): &(String, HostAddress)) -> String {
    match address {
        HostAddress::Address(address) => format!("{name}:{address}"),
        HostAddress::Gateway => format!("{name}:host-gateway"),
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let security = &spec.security;
    let privileges = security
        .no_new_privileges
        .map(|set| format!("no-new-privileges:{set}"));
    let seccomp = match &security.seccomp {
        SeccompProfile::Default => None,
        SeccompProfile::Unconfined => Some("seccomp=unconfined".to_owned()),
        SeccompProfile::Custom(profile) => Some(format!("seccomp={profile}")),
    };
    let apparmor = security
        .apparmor
        .as_ref()
        .map(|profile| format!("apparmor={profile}"));
    privileges
        .into_iter()
        .chain(seccomp)
        .chain(apparmor)
        .collect()
}

fn mount_rows(view: &View<'_>) -> Vec<Value> {
    let spec = container_spec(view);
    let paths = &view.facts.volume_paths;
    let volume_path = |name: &str| paths.get(name).cloned().unwrap_or_default();
    let named = spec
        .mounts
        .iter()
        .filter_map(|mount| mounts::row(mount, &volume_path));
    let anonymous = view.facts.anonymous.iter().map(|(target, name)| {
        json!({
            "Type": "volume",
            "Name": name,
            "Source": volume_path(name),
            "Destination": target,
            "Driver": "local",
            "Mode": "",
            "RW": true,
            "Propagation": "",
        })
    });
    named.chain(anonymous).collect()
}

fn network_settings(view: &View<'_>, spec: &ContainerSpec) -> Value {
    let alive = view.phase.is_alive();
    let networks = networks(view, spec);
    // The old fields tell of the default network only.
    let old = networks.get(DEFAULT_NETWORK).filter(|_| alive);
    let field = |name: &str| old.and_then(|network| network.get(name)).cloned();
    let text = |name: &str| field(name).unwrap_or_else(|| json!(""));
    let exposed: Vec<_> = spec.expose.clone();
    json!({
        "Bridge": "",
        "SandboxID": if alive { view.found.task.id.as_str() } else { "" },
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": if alive { ports::bindings(&spec.ports, &exposed, &view.found.task) } else { json!({}) },
        "SandboxKey": match view.found.task.status.pid {
            Some(pid) if alive => format!("/proc/{pid}/ns/net"),
            _ => String::new(),
        },
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": text("EndpointID"),
        "Gateway": text("Gateway"),
        "GlobalIPv6Address": text("GlobalIPv6Address"),
        "GlobalIPv6PrefixLen": field("GlobalIPv6PrefixLen").unwrap_or_else(|| json!(0)),
        "IPAddress": text("IPAddress"),
        "IPPrefixLen": field("IPPrefixLen").unwrap_or_else(|| json!(0)),
        "IPv6Gateway": text("IPv6Gateway"),
        "MacAddress": text("MacAddress"),
        "Networks": networks,
    })
}

/// By name. Addresses are told while the container has its place on the network.
fn networks(view: &View<'_>, spec: &ContainerSpec) -> serde_json::Map<String, Value> {
    let wishes = match &spec.network {
        NetworkMode::Attached(attachments) => attachments.as_slice(),
        NetworkMode::Host | NetworkMode::None => {
            let name = network_mode(spec);
            return std::iter::once((name, endpoint(&[], None))).collect();
        }
        NetworkMode::Container(_) | NetworkMode::Service(_) => return serde_json::Map::new(),
    };
    let task = &view.found.task;
    let mut networks = serde_json::Map::new();
    for wish in wishes {
        let network = view.state.network_named(&wish.network);
        let place = network.and_then(|network| {
            let attachment = task
                .attachments
                .iter()
                .find(|place| place.network == network.id)?;
            Some((network, attachment))
        });
        let mut aliases = wish.aliases.clone();
        aliases.push(view.found.id.short().to_owned());
        let place = place.filter(|_| view.phase.is_alive());
        networks.insert(wish.network.clone(), endpoint(&aliases, place));
    }
    networks
}

type Place<'a> = (
    &'a std::sync::Arc<scheduler::model::network::Network>,
    &'a scheduler::model::network::Attachment,
);

fn endpoint(aliases: &[String], place: Option<Place<'_>>) -> Value {
    let text = |value: Option<String>| value.unwrap_or_default();
    let four = place.filter(|(_, place)| place.address.is_ipv4());
    let six =
        place.and_then(|(network, place)| Some((network.ipv6_subnet()?, place.ipv6_address()?)));
    json!({
        "IPAMConfig": null,
        "Links": null,
        "Aliases": if aliases.is_empty() { Value::Null } else { json!(aliases) },
        "DNSNames": aliases,
        "NetworkID": text(place.map(|(network, _)| network.id.to_string())),
        "EndpointID": text(place.map(|(network, place)| endpoint_id(network, place))),
        "Gateway": text(four.map(|(network, _)| network.gateway.to_string())),
        "IPAddress": text(four.map(|(_, place)| place.address.to_string())),
        "IPPrefixLen": four.map_or(0, |(network, _)| network.subnet.prefix_len()),
        "IPv6Gateway": text(six.map(|(of, _)| of.gateway.to_string())),
        "GlobalIPv6Address": text(six.map(|(_, address)| address.to_string())),
        "GlobalIPv6PrefixLen": six.map_or(0, |(of, _)| of.subnet.prefix_len()),
        "MacAddress": text(place.map(|(_, place)| place.mac.clone())),
        "DriverOpts": null,
    })
}

/// Docker has an identifier for each place on a network; ours follows from network and address.
pub(super) fn endpoint_id(
    network: &scheduler::model::network::Network,
    place: &scheduler::model::network::Attachment,
) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(format!("{}/{}", network.id, place.address)))
}
