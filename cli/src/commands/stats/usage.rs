//! From the counters of `GET /containers/{id}/stats` to what a person reads.
//!
//! Source: docker/cli `cli/command/container/stats_helpers.go`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::output::{binary_size, decimal_size};

/// What is used of the answer. Everything may be missing: a container that does not run has zeros.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    pids_stats: Processes,
    blkio_stats: Blocks,
    networks: BTreeMap<String, Interface>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    system_cpu_usage: u64,
    online_cpus: u32,
}

/// Nanoseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
}

/// Bytes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: BTreeMap<String, u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Processes {
    current: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Blocks {
    io_service_bytes_recursive: Option<Vec<Operation>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    op: String,
    value: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    rx_bytes: u64,
    tx_bytes: u64,
}

/// In Docker's words.
pub(super) struct Usage {
    /// `12.34%`, of one processor: two busy ones are 200 %.
    pub(super) cpu: String,
    /// `1.5MiB / 64MiB`
    pub(super) memory: String,
    pub(super) memory_share: String,
    /// Received and sent: `1.2kB / 0B`.
    pub(super) network: String,
    /// Read and written.
    pub(super) blocks: String,
    pub(super) processes: u64,
}

impl Usage {
    pub(super) fn of(stats: &Stats) -> Self {
        let memory = &stats.memory_stats;
        // The part of the page cache that would be given up first is not counted as used.
        let cache = ["total_inactive_file", "inactive_file"];
        let cache = cache.iter().find_map(|key| memory.stats.get(*key));
        let used = memory.usage.saturating_sub(cache.copied().unwrap_or(0));
        let sum = |of: fn(&Interface) -> u64| stats.networks.values().map(of).sum();
        let operations = stats.blkio_stats.io_service_bytes_recursive.as_deref();
        let total = |op: &str| {
            let own = operations.unwrap_or_default().iter();
            let own = own.filter(|it| it.op.eq_ignore_ascii_case(op));
            own.map(|it| it.value).sum()
        };
        let pair = |a: u64, b: u64| format!("{} / {}", decimal_size(a), decimal_size(b));
        Self {
            cpu: percent(cpu_share(stats)),
            memory: format!("{} / {}", binary_size(used), binary_size(memory.limit)),
            memory_share: percent(share(used, memory.limit)),
            network: pair(sum(|it| it.rx_bytes), sum(|it| it.tx_bytes)),
            blocks: pair(total("read"), total("write")),
            processes: stats.pids_stats.current,
        }
    }
}

fn cpu_share(stats: &Stats) -> f64 {
    let (now, before) = (&stats.cpu_stats, &stats.precpu_stats);
    let used = now.cpu_usage.total_usage;
    let used = used.saturating_sub(before.cpu_usage.total_usage);
    let all = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    share(used, all) * f64::from(now.online_cpus)
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(answer: serde_json::Value, expected: &str) {
        let usage = Usage::of(&serde_json::from_value(answer).unwrap());
        let Usage {
            cpu,
            memory,
            memory_share,
            network,
            blocks,
            processes,
        } = usage;
        assert_eq!(
            format!("{cpu} {memory} {memory_share} {network} {blocks} {processes}"),
            expected
        );
    }

    #[test]
    fn counts_processors_leaves_out_cache_and_adds_interfaces() {
        check(
            json!({
                "cpu_stats": {"cpu_usage": {"total_usage": 3_000}, "system_cpu_usage": 20_000, "online_cpus": 2},
                "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 12_000},
                "memory_stats": {"usage": 3 << 20, "limit": 64 << 20, "stats": {"inactive_file": 1 << 20}},
                "pids_stats": {"current": 4},
                "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": 4096}, {"op": "Write", "value": 5}]},
                "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 1}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
            }),
            "50.00% 2MiB / 64MiB 3.12% 1.5kB / 1B 4.1kB / 5B 4",
        );
    }

    #[test]
    fn what_does_not_run_has_zeros() {
        check(
            json!({"blkio_stats": {"io_service_bytes_recursive": null}}),
            "0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0",
        );
    }
}
