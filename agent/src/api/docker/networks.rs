//! Networks: the cluster's, and the two that are no networks at all (`host`, `none`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::StatusCode;
use ipnet::IpNet;
use scheduler::control_plane::{Command, Reply};
use scheduler::model::network::{Attachment, Ipv6Pool, Network, NetworkDriver, NetworkSpec};
use scheduler::state::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::create::DEFAULT_NETWORK;
use super::inspect::endpoint_id;
use super::lifecycle::until;
use super::lookup;
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::filters::Filters;
use crate::api::reply::{self, Answer};
use crate::api::time;

/// Names that mean no network of ours, with Docker's name of the driver.
const WITHOUT: [(&str, &str); 2] = [("host", "host"), ("none", "null")];

/// `GET /networks`
pub(in crate::api) fn list(context: &Context, call: &Call) -> Answer {
    let known = [
        "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
    ];
    let filters = Filters::read(&call.params, &known)?;
    let names = filters.names()?;
    let state = context.state();
    let passes = |row: &Value| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        let labels: BTreeMap<String, String> = row
            .get("Labels")
            .and_then(|labels| serde_json::from_value(labels.clone()).ok())
            .unwrap_or_default();
        let builtin = [DEFAULT_NETWORK, "host", "none"].contains(&text("Name"));
        let used = state.tasks.values().any(|task| {
            task.attachments
                .iter()
                .any(|place| place.network.as_str() == text("Id"))
        });
        names.pass(text("Name"))
            && filters.labels(&labels)
            && filters.any("driver", |driver| driver == text("Driver"))
            && filters.any("scope", |scope| scope == text("Scope"))
            && filters.any("id", |id| text("Id").starts_with(id))
            && filters.any("type", |wanted| (wanted == "builtin") == builtin)
            && filters.any("dangling", |wanted| {
                matches!(wanted, "1" | "true") != (used || builtin)
            })
    };
    let networks = state.networks.values().map(|network| describe(network));
    let rows: Vec<Value> = networks
        .chain(WITHOUT.iter().map(|it| without(*it)))
        .filter(passes)
        .collect();
    reply::json(&rows)
}

/// `GET /networks/{id}`
pub(in crate::api) fn inspect(context: &Context, id: &str) -> Answer {
    if let Some(found) = WITHOUT.iter().find(|(name, _)| *name == id) {
        return reply::json(&without(*found));
    }
    let state = context.state();
    let network = lookup::network(&state, id)?;
    let mut body = describe(network);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("Containers".into(), members(&state, network));
    }
    reply::json(&body)
}

fn describe(network: &Network) -> Value {
    let spec = &network.spec;
    let driver = match spec.driver {
        NetworkDriver::Bridge => "bridge",
        NetworkDriver::Overlay => "overlay",
    };
    // In a cluster every network is on all nodes, whatever it was called when it was made; `docker
    // stack deploy` refuses external ones that say otherwise. Docker's own one is never swarm's.
    let is_everywhere = network.vni != 0 && spec.name != DEFAULT_NETWORK;
    let scope = match is_everywhere || spec.driver == NetworkDriver::Overlay {
        true => "swarm",
        false => "local",
    };
    json!({
        "Name": spec.name,
        "Id": network.id.as_str(),
        "Created": time::rfc3339(network.created_at),
        "Scope": scope,
        "Driver": driver,
        "EnableIPv4": !spec.ipv6_only,
        "EnableIPv6": spec.enable_ipv6,
        "IPAM": { "Driver": "default", "Options": {}, "Config": ranges(network) },
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": spec.driver_opts,
        "Labels": spec.labels,
    })
}

/// Its subnets, IPv4 first.
fn ranges(network: &Network) -> Vec<Value> {
    let spec = &network.spec;
    let row = |subnet: IpNet, gateway: IpAddr, range: Option<IpNet>| {
        let mut row = json!({ "Subnet": subnet.to_string(), "Gateway": gateway.to_string() });
        if let (Some(range), Some(fields)) = (range, row.as_object_mut()) {
            fields.insert("IPRange".into(), json!(range.to_string()));
        }
        row
    };
    let six = network.ipv6_subnet();
    let four = (network.subnet.addr().is_ipv4()).then(|| {
        row(
            network.subnet,
            network.gateway,
            spec.ip_range.map(IpNet::V4),
        )
    });
    let six = six.map(|it| {
        let range = spec.ipv6.ip_range.map(IpNet::V6);
        row(it.subnet.into(), it.gateway.into(), range)
    });
    four.into_iter().chain(six).collect()
}

/// With the length of the subnet's prefix, as Docker shows it; empty where there is none.
fn with_prefix(place: &Attachment, network: &Network) -> (String, String) {
    let four = Some(place.address).filter(IpAddr::is_ipv4);
    let four = four.map(|it| format!("{it}/{}", network.subnet.prefix_len()));
    let six = place.ipv6_address().zip(network.ipv6_subnet());
    let six = six.map(|(it, of)| format!("{it}/{}", of.subnet.prefix_len()));
    (four.unwrap_or_default(), six.unwrap_or_default())
}

fn without((name, driver): (&str, &str)) -> Value {
    json!({
        "Name": name,
        // No identifier of ours can look like this, and none can be made to.
        "Id": hex::encode(format!("{name:-<32}")),
        "Created": time::NEVER,
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": [] },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": {},
        "Options": {},
        "Labels": {},
    })
}

fn members(state: &State, network: &Network) -> Value {
    let mut members = serde_json::Map::new();
    for task in state
        .tasks
        .values()
        .filter(|task| !task.status.state.is_terminal())
    {
        for place in task
            .attachments
            .iter()
            .filter(|place| place.network == network.id)
        {
            let (four, six) = with_prefix(place, network);
            members.insert(
                task.container.to_string(),
                json!({
                    "Name": task.name,
                    "EndpointID": endpoint_id(network, place),
                    "MacAddress": place.mac,
                    "IPv4Address": four,
                    "IPv6Address": six,
                }),
            );
        }
    }
    Value::Object(members)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct CreateBody {
    name: String,
    driver: String,
    internal: bool,
    attachable: bool,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Ipam {
    config: Vec<IpamConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct IpamConfig {
    subnet: String,
    gateway: String,
    #[serde(rename = "IPRange")]
    ip_range: String,
    auxiliary_addresses: BTreeMap<String, String>,
}

/// `POST /networks/create`
pub(in crate::api) async fn create(context: &Context, mut call: Call) -> Answer {
    let body: CreateBody = call.json().await?;
    if WITHOUT.iter().any(|(name, _)| *name == body.name) {
        return Err(EngineError::Forbidden(format!(
            "operation is not permitted on predefined {} network",
            body.name
        )));
    }
    let spec = spec(body)?;
    let name = spec.name.clone();
    let answer = context.command(Command::CreateNetwork { spec }).await?;
    let Reply::NetworkCreated { id } = answer.reply else {
        return Err(EngineError::Internal(format!(
            "network {name} was created without an id"
        )));
    };
    reply::json_with(
        StatusCode::CREATED,
        &json!({ "Id": id.as_str(), "Warning": "" }),
    )
}

fn spec(body: CreateBody) -> Result<NetworkSpec, EngineError> {
    if body.name.is_empty() {
        return Err(bad("network name may not be empty"));
    }
    let ipv6_only = body.enable_ipv4 == Some(false);
    let enable_ipv6 = body.enable_ipv6.unwrap_or_default();
    if ipv6_only && !enable_ipv6 {
        return Err(bad("IPv4 or IPv6 must be enabled"));
    }
    let driver = match body.driver.as_str() {
        "" | "default" | "bridge" => NetworkDriver::Bridge,
        "overlay" => NetworkDriver::Overlay,
        other => {
            return Err(EngineError::NotFound(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    };
    let (six, four): (Vec<_>, Vec<_>) =
        (body.ipam.config.iter()).partition(|config| config.subnet.contains(':'));
    let none = IpamConfig::default();
    let only = |configs: Vec<&IpamConfig>| match configs.as_slice() {
        [] => Ok(none.clone()),
        [config] => Ok((*config).clone()),
        _ => Err(bad("a network has one subnet of each kind only")),
    };
    let (four, six) = (only(four)?, only(six)?);
    if !enable_ipv6 && six != none {
        return Err(bad("an IPv6 subnet needs EnableIPv6"));
    }
    fn parse<T: std::str::FromStr>(what: &str, text: &str) -> Result<Option<T>, EngineError> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| bad(format!("invalid {what} {text}")))
    }
    let mut aux_addresses = BTreeMap::new();
    let reserved = four.auxiliary_addresses.iter();
    for (name, address) in reserved.chain(&six.auxiliary_addresses) {
        if let Some(address) = parse("auxiliary address", address)? {
            aux_addresses.insert(name.clone(), address);
        }
    }
    Ok(NetworkSpec {
        driver,
        driver_opts: body.options,
        labels: body.labels,
        internal: body.internal,
        attachable: body.attachable,
        enable_ipv6,
        ipv6_only,
        external: false,
        subnet: parse("subnet", &four.subnet)?,
        gateway: parse("gateway", &four.gateway)?,
        ip_range: parse("IP range", &four.ip_range)?,
        ipv6: Ipv6Pool {
            subnet: parse("subnet", &six.subnet)?,
            gateway: parse("gateway", &six.gateway)?,
            ip_range: parse("IP range", &six.ip_range)?,
        },
        aux_addresses,
        name: body.name,
    })
}

/// `DELETE /networks/{id}`
pub(in crate::api) async fn delete(context: &Context, id: &str) -> Answer {
    if WITHOUT.iter().any(|(name, _)| *name == id) {
        let text = format!("{id} is a pre-defined network and cannot be removed");
        return Err(EngineError::Forbidden(text));
    }
    let state = context.state();
    let network = lookup::network(&state, id)?;
    remove(context, network).await?;
    reply::empty(StatusCode::NO_CONTENT)
}

/// Removes a network and waits until it is gone.
pub(super) async fn remove(context: &Context, network: &Network) -> Result<(), EngineError> {
    let command = Command::RemoveNetwork {
        network: network.id.to_string(),
    };
    context.command(command).await?;
    until(context, |state| {
        (!state.networks.contains_key(&network.id)).then_some(())
    })
    .await
}

/// `POST /networks/{id}/connect` and `/disconnect`
pub(in crate::api) fn no_reconnecting() -> EngineError {
    EngineError::NotImplemented(
        "connecting an existing container to another network is not supported by wharfie yet; name all its networks when it is created".into(),
    )
}
