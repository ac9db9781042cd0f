//! Who answers here: ping, version, info, login, disk usage.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use scheduler::model::task::TaskState;
use serde_json::{Value, json};

use super::create::OWN_RUNTIME;
use super::phase::{Frozen, Phase};
use super::{API_VERSION, ENGINE_VERSION, MIN_API_VERSION, lookup};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::EngineError;
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::clock::wall_time;

/// `GET`, `HEAD /_ping`
pub(in crate::api) fn ping(method: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(if method == "HEAD" { "" } else { "OK" }));
    let headers = response.headers_mut();
    let fixed = [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        // 1 is the classic builder: there is no BuildKit behind `/grpc`.
        ("builder-version", "1"),
        ("swarm", "inactive"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if method == "HEAD" {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// The kernel's release, as uname(2) tells it.
fn kernel() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// `GET /version`
pub(in crate::api) fn version(context: &Context) -> Answer {
    let wharfie = env!("CARGO_PKG_VERSION");
    let (arch, kernel) = (&context.description.architecture, kernel());
    let details = json!({
        "ApiVersion": API_VERSION,
        "Arch": arch,
        "Experimental": "false",
        "KernelVersion": kernel,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": "linux",
    });
    reply::json(&json!({
        "Platform": { "Name": format!("wharfie {wharfie}") },
        "Components": [
            { "Name": "Engine", "Version": ENGINE_VERSION, "Details": details },
            { "Name": "wharfie", "Version": wharfie, "Details": {} },
        ],
        "Version": ENGINE_VERSION,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": "",
    }))
}

/// `GET /info`
pub(in crate::api) async fn info(context: &Context) -> Answer {
    let state = context.state();
    let mut running = 0;
    let mut others = 0;
    for found in lookup::containers(&state) {
        let runs = state.container_tasks(&found.id).map(AsRef::as_ref);
        match Phase::of(runs, Frozen::No) {
            Phase::Running => running += 1,
            _ => others += 1,
        }
    }
    let description = &context.description;
    let machine = nix::sys::utsname::uname()
        .map(|name| name.machine().to_string_lossy().into_owned())
        .unwrap_or_default();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let cgroup = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "2"
    } else {
        "1"
    };
    let mut body = json!({
        "ID": context.node.as_str(),
        "Containers": running + others,
        "ContainersRunning": running,
        "ContainersPaused": 0,
        "ContainersStopped": others,
        "Images": context.images.list().len(),
        "Driver": "overlay2",
        "DriverStatus": [["Supports d_type", "true"]],
        "SystemTime": time::rfc3339(wall_time()),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": cgroup,
        "KernelVersion": kernel(),
        "OperatingSystem": os_release(&release, "PRETTY_NAME"),
        "OSVersion": os_release(&release, "VERSION_ID"),
        "OSType": "linux",
        "Architecture": machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "NCPU": description.cpu_millis / 1000,
        "MemTotal": description.memory,
        "DockerRootDir": context.root.display().to_string(),
        "Name": description.hostname,
        "Labels": description.engine_labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
        "ServerVersion": ENGINE_VERSION,
        "Runtimes": { OWN_RUNTIME: { "path": OWN_RUNTIME } },
        "DefaultRuntime": OWN_RUNTIME,
        "ProductLicense": format!("wharfie {}", env!("CARGO_PKG_VERSION")),
    });
    if let (Some(body), Value::Object(rest)) = (body.as_object_mut(), constants()) {
        body.extend(rest);
    }
    reply::json(&body)
}

/// What is the same on every host, and what wharfie does not have.
fn constants() -> Value {
    json!({
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null", "overlay"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": true, "SwapLimit": true, "KernelMemory": false, "KernelMemoryTCP": false,
        "CpuCfsPeriod": true, "CpuCfsQuota": true, "CPUShares": true, "CPUSet": true,
        "PidsLimit": true, "IPv4Forwarding": true, "OomKillDisable": true,
        "BridgeNfIptables": true, "BridgeNfIp6tables": true,
        "Debug": false, "NFd": 0, "NGoroutines": 0, "NEventsListener": 0,
        "RegistryConfig": {
            "AllowNondistributableArtifactsCIDRs": [],
            "AllowNondistributableArtifactsHostnames": [],
            "InsecureRegistryCIDRs": ["127.0.0.0/8"],
            "IndexConfigs": {
                "docker.io": { "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true },
            },
            "Mirrors": [],
        },
        "GenericResources": null, "HttpProxy": "", "HttpsProxy": "", "NoProxy": "",
        "ExperimentalBuild": false,
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive",
            "ControlAvailable": false, "Error": "", "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true, "Isolation": "", "InitBinary": "",
        "ContainerdCommit": { "ID": "", "Expected": "" },
        "RuncCommit": { "ID": "", "Expected": "" },
        "InitCommit": { "ID": "", "Expected": "" },
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "Warnings": null,
    })
}

/// A value of os-release(5).
fn os_release(text: &str, key: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

/// `POST /auth`: credentials are shown to a registry when something is pulled, not before.
pub(in crate::api) async fn auth(call: &mut Call) -> Answer {
    let _: Value = call.json().await?;
    Err(EngineError::NotImplemented(
        "logging in through the engine is not supported by wharfie; credentials of the client are used at each pull".into(),
    ))
}

/// `GET /system/df`
pub(in crate::api) async fn df(context: &Context) -> Answer {
    let state = context.state();
    let images = context.images.list();
    let rows: Vec<_> = images
        .iter()
        .map(|image| super::images::row(&state, image))
        .collect();
    let alive = state
        .tasks
        .values()
        .filter(|task| task.status.state == TaskState::Running)
        .count();
    tracing::trace!(alive, "disk usage asked for");
    reply::json(&json!({
        "LayersSize": context.images.disk_usage().layers,
        "Images": rows,
        "Containers": [],
        "Volumes": [],
        "BuildCache": [],
        "BuilderSize": 0,
    }))
}
