//! What runs in a container and what it uses: `top`, `stats`.

use std::sync::Arc;
use std::time::Duration;

use scheduler::model::id::ContainerId;
use serde_json::{Value, json};

use super::lookup::{self, Found};
use crate::api::Context;
use crate::api::call::Call;
use crate::api::error::{EngineError, bad};
use crate::api::reply::{self, Answer};
use crate::api::time;
use crate::clock::wall_time;
use crate::container::Stats;

/// Docker's interval between two readings.
const INTERVAL: Duration = Duration::from_secs(1);

/// `GET /containers/{id}/top?ps_args=`
pub(in crate::api) async fn top(context: &Context, call: &Call, id: &str) -> Answer {
    let found = running(context, id)?;
    let wanted: Vec<String> = context
        .containers
        .pids(&found.id)
        .await?
        .iter()
        .map(u32::to_string)
        .collect();
    let arguments = call.params.get("ps_args").unwrap_or("-ef");
    let output = tokio::process::Command::new("ps")
        .args(arguments.split_whitespace())
        .output()
        .await
        .map_err(|error| EngineError::Internal(format!("cannot run ps: {error}")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(bad(format!("ps: {}", text.trim())));
    }
    reply::json(&table(&String::from_utf8_lossy(&output.stdout), &wanted)?)
}

/// Picks the rows of some processes out of what `ps` printed.
fn table(text: &str, wanted: &[String]) -> Result<Value, EngineError> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let pid = titles
        .iter()
        .position(|title| *title == "PID")
        .ok_or_else(|| EngineError::Internal("Couldn't find PID field in ps output".into()))?;
    let row = |line: &str| -> Option<Vec<String>> {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if !wanted.contains(words.get(pid)?) {
            return None;
        }
        // The last column is the command, with its spaces.
        let command = words.split_off(titles.len().saturating_sub(1).min(words.len()));
        words.push(command.join(" "));
        Some(words)
    };
    let rows: Vec<_> = lines.filter_map(row).collect();
    Ok(json!({ "Titles": titles, "Processes": rows }))
}

fn running(context: &Context, id: &str) -> Result<Found, EngineError> {
    let found = lookup::container(&context.state(), id)?;
    match found.task.status.pid {
        Some(_) if !found.task.status.state.is_terminal() => Ok(found),
        _ => Err(EngineError::NotRunning(found.id.to_string())),
    }
}

/// One reading.
#[derive(Clone, Default)]
struct Sample {
    at: String,
    stats: Stats,
    system_nanos: u64,
    networks: Value,
}

/// `GET /containers/{id}/stats?stream=&one-shot=`
pub(in crate::api) async fn stats(context: Arc<Context>, call: &Call, id: &str) -> Answer {
    let found = lookup::container(&context.state(), id)?;
    let (sender, response) = reply::stream("application/json");
    let streaming = call.params.flag_unless_denied("stream");
    let one_shot = call.params.flag("one-shot");
    tokio::spawn(async move {
        // A container that does not run has zeros, as in Docker.
        let mut before = sample(&context, &found.id).await.unwrap_or_default();
        if streaming || one_shot {
            let first = describe(&found, &before, &Sample::default());
            if sender.send(reply::line(&first)).await.is_err() || !streaming {
                return;
            }
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
            }
            let Some(found) = lookup::container(&context.state(), found.id.as_str()).ok() else {
                return;
            };
            let now = sample(&context, &found.id).await.unwrap_or_default();
            let body = describe(&found, &now, &before);
            if sender.send(reply::line(&body)).await.is_err() || !streaming {
                return;
            }
            before = now;
        }
    });
    Ok(response)
}

async fn sample(context: &Context, id: &ContainerId) -> Option<Sample> {
    let stats = context.containers.stats(id).await.ok()?;
    let pid = context
        .state()
        .container(id)
        .and_then(|task| task.status.pid);
    let networks = match pid {
        Some(pid) => {
            let path = format!("/proc/{pid}/net/dev");
            interfaces(&tokio::fs::read_to_string(path).await.unwrap_or_default())
        }
        None => json!({}),
    };
    let cpu = tokio::fs::read_to_string("/proc/stat")
        .await
        .unwrap_or_default();
    Some(Sample {
        at: time::rfc3339(wall_time()),
        stats,
        system_nanos: system_nanos(&cpu),
        networks,
    })
}

/// CPU time of the whole host, of the first line of proc_stat(5), in nanoseconds.
fn system_nanos(stat: &str) -> u64 {
    // Docker counts user, nice, system, idle, iowait, irq and softirq, in ticks of 10 ms.
    let fields = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(7);
    fields
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * 10_000_000
}

/// Counters of each interface but loopback, from `/proc/PID/net/dev`.
fn interfaces(text: &str) -> Value {
    let mut all = serde_json::Map::new();
    for line in text.lines().skip(2) {
        let Some((name, numbers)) = line.split_once(':') else {
            continue;
        };
        let n: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
        let at = |index: usize| n.get(index).copied().unwrap_or_default();
        if name.trim() != "lo" {
            all.insert(
                name.trim().to_owned(),
                json!({
                    "rx_bytes": at(0), "rx_packets": at(1), "rx_errors": at(2), "rx_dropped": at(3),
                    "tx_bytes": at(8), "tx_packets": at(9), "tx_errors": at(10), "tx_dropped": at(11),
                }),
            );
        }
    }
    Value::Object(all)
}

fn describe(found: &Found, now: &Sample, before: &Sample) -> Value {
    let stats = &now.stats;
    let never = |at: &str| {
        if at.is_empty() {
            time::NEVER.to_owned()
        } else {
            at.to_owned()
        }
    };
    let bytes = |op: &str, value: u64| json!({ "major": 0, "minor": 0, "op": op, "value": value });
    json!({
        "read": never(&now.at),
        "preread": never(&before.at),
        "pids_stats": { "current": stats.pids, "limit": stats.pids_limit },
        "blkio_stats": {
            "io_service_bytes_recursive": [
                bytes("read", stats.io_read), bytes("write", stats.io_written),
            ],
            "io_serviced_recursive": null, "io_queue_recursive": null,
            "io_service_time_recursive": null, "io_wait_time_recursive": null,
            "io_merged_recursive": null, "io_time_recursive": null, "sectors_recursive": null,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": memory(stats),
        "name": format!("/{}", found.task.name),
        "id": found.id.as_str(),
        "networks": now.networks,
    })
}

fn cpu(sample: &Sample) -> Value {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "cpu_usage": {
            "total_usage": sample.stats.cpu_nanos,
            "usage_in_kernelmode": sample.stats.cpu_system_nanos,
            "usage_in_usermode": sample.stats.cpu_user_nanos,
        },
        "system_cpu_usage": sample.system_nanos,
        "online_cpus": cpus,
        "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
    })
}

/// The docker CLI subtracts the inactive part of the page cache under either kernel's name for it.
fn memory(stats: &Stats) -> Value {
    let limit = stats.memory_limit.unwrap_or_else(host_memory);
    json!({
        "usage": stats.memory,
        "stats": {
            "inactive_file": stats.memory_inactive_file,
            "total_inactive_file": stats.memory_inactive_file,
        },
        "limit": limit,
    })
}

/// Bytes of memory of this host.
fn host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or_default();
    let kib = line
        .split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
