//! Resources, ulimits and logging.

use std::collections::BTreeMap;

use super::{Resolver, at, count, size, text};
use crate::compose::document::{Node, Value};
use crate::compose::lint::Rule;
use crate::compose::value;
use crate::model::container::{BlockLimit, BlockLimitKind, LogDriver, Logging, Resources, Ulimit};

const BLOCK_LIMITS: [(&str, BlockLimitKind); 5] = [
    ("weight_device", BlockLimitKind::Weight),
    ("device_read_bps", BlockLimitKind::ReadBytes),
    ("device_write_bps", BlockLimitKind::WriteBytes),
    ("device_read_iops", BlockLimitKind::ReadOperations),
    ("device_write_iops", BlockLimitKind::WriteOperations),
];

impl Resolver<'_> {
    pub(super) fn resources(&mut self, service: &Node) -> Resources {
        let limits = at(service, "deploy.resources.limits");
        let reservations = at(service, "deploy.resources.reservations");
        let millis = |node: Option<&Node>| {
            node.and_then(|it| it.get_float("cpus"))
                .map(|it| (it * 1000.0).round() as u64)
        };
        let weight = at(service, "blkio_config").and_then(|it| it.get("weight"));
        let blkio_weight = match weight.map(|it| (&it.value, it.span)) {
            Some((Value::Int(0), _)) | None => None,
            Some((Value::Int(weight @ 10..=1000), _)) => u16::try_from(*weight).ok(),
            Some((_, span)) => {
                self.problems
                    .error(span, "`blkio_config.weight` must lie between 10 and 1000");
                None
            }
        };
        Resources {
            cpu_limit_millis: millis(limits)
                .or(millis(Some(service)))
                .filter(|it| *it > 0),
            cpu_reservation_millis: millis(reservations),
            memory_limit: limits
                .and_then(|it| size(it, "memory"))
                .or(size(service, "mem_limit"))
                .filter(|it| *it > 0),
            memory_reservation: reservations
                .and_then(|it| size(it, "memory"))
                .or(size(service, "mem_reservation")),
            generic_reservations: generic(reservations),
            memory_swap: service
                .get_str("memswap_limit")
                .and_then(|it| value::parse_size(it).ok()),
            memory_swappiness: size(service, "mem_swappiness"),
            pids_limit: limits
                .and_then(|it| it.get_int("pids"))
                .or(service.get_int("pids_limit"))
                .filter(|it| *it != 0),
            cpu_shares: count(service, "cpu_shares"),
            cpu_period: count(service, "cpu_period"),
            cpu_quota: service.get_int("cpu_quota"),
            cpu_rt_period: count(service, "cpu_rt_period"),
            cpu_rt_runtime: service.get_int("cpu_rt_runtime"),
            cpuset: text(service, "cpuset"),
            cpuset_mems: None,
            blkio_weight,
            block_devices: self.block_limits(service),
        }
    }

    /// What is said of single disks in `blkio_config`.
    fn block_limits(&mut self, service: &Node) -> Vec<BlockLimit> {
        let mut limits = Vec::new();
        for (key, kind) in BLOCK_LIMITS {
            let list = at(service, "blkio_config").and_then(|it| it.get(key));
            for item in list.map(Node::items).unwrap_or_default() {
                let amount = match kind {
                    BlockLimitKind::Weight => count(item, "weight"),
                    _ => size(item, "rate"),
                };
                let (Some(path), Some(amount)) = (text(item, "path"), amount) else {
                    // That something is missing has been reported.
                    continue;
                };
                if kind == BlockLimitKind::Weight && !(10..=1000).contains(&amount) {
                    let title = "the weight of a device must lie between 10 and 1000";
                    self.problems.error(item.span, title);
                }
                limits.push(BlockLimit { path, kind, amount });
            }
        }
        limits
    }

    pub(super) fn logging(&mut self, service: &Node) -> Logging {
        let Some(node) = service.get("logging") else {
            return Logging::default();
        };
        let requested = text(node, "driver");
        let mut logging = Logging {
            requested,
            ..Logging::default()
        };
        match logging.requested.as_deref() {
            None | Some("json-file" | "local" | "journald") => {}
            Some("none") => logging.driver = LogDriver::None,
            Some(other) => {
                let span = node.get("driver").map_or(node.span, |it| it.span);
                let title = format!(
                    "the logging driver `{other}` is not supported; files are written instead"
                );
                self.problems.warn(Rule::NoEffect, span, title);
            }
        }
        let Some(options) = node.get("options") else {
            return logging;
        };
        if let Some(max_size) = options.get("max-size") {
            logging.max_size = max_size
                .as_str()
                .and_then(|it| value::parse_size(it).ok())
                .and_then(|it| u64::try_from(it).ok());
            if logging.max_size.is_none() {
                self.problems
                    .error(max_size.span, "`max-size` must be a size such as `10m`");
            }
        }
        logging.max_file = self.parsed(options.get("max-file"), "a number of files");
        logging
    }
}

pub(super) fn ulimits(service: &Node) -> BTreeMap<String, Ulimit> {
    let mut ulimits = BTreeMap::new();
    for (name, entry) in service.get("ulimits").into_iter().flat_map(Node::entries) {
        let (soft, hard) = match entry.node.value {
            Value::Int(value) => (value, value),
            _ => {
                let (soft, hard) = (entry.node.get_int("soft"), entry.node.get_int("hard"));
                (soft.or(hard).unwrap_or(-1), hard.or(soft).unwrap_or(-1))
            }
        };
        ulimits.insert(name.to_owned(), Ulimit { soft, hard });
    }
    ulimits
}

/// `deploy.resources.reservations.generic_resources`: counts by kind.
fn generic(reservations: Option<&Node>) -> BTreeMap<String, u64> {
    let items = reservations.and_then(|it| it.get("generic_resources"));
    let counted = items.map(Node::items).unwrap_or_default().iter();
    let counted = counted.filter_map(|item| {
        let spec = item.get("discrete_resource_spec")?;
        Some((text(spec, "kind")?, count(spec, "value")?))
    });
    counted.collect()
}
