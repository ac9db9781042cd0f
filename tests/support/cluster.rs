//! Several machines for a test, joined by a switch, and what can happen to them.
//!
//!       host 0          host 1          host 2         each: network, mount and host name of its own,
//!     10.77.0.1       10.77.0.2       10.77.0.3              own data root, own node
//!         │ cable0        │ cable0        │ cable0
//!     ════╧═══════════════╧═══════════════╧════ switch (10.77.0.254, [`Cluster::switch`])
//!
//! ```ignore
//! let mut cluster = Cluster::of(3, 0);                     // 3 managers that all answer
//! cluster.host(0).compose("app", FILE, "up -d").succeeds();
//! cluster.kill(1);                                         // the process; its containers go on
//! cluster.cut(0, 2, Direction::Both);                      // packets between these two are lost
//! cluster.within(secs(10), "somebody leads", || cluster.leader().ok_or("nobody".into()));
//! cluster.heal();
//! cluster.start(1);
//! ```
//!
//! | what happens | here |
//! |---|---|
//! | the node's process dies, and comes back | [`Cluster::kill`], [`Cluster::start`] |
//! | it stands still, and goes on | [`Cluster::freeze`], [`Cluster::thaw`] |
//! | the machine loses power, and boots again | [`Cluster::power_off`], [`Cluster::power_on`] |
//! | packets of one way, or both, are lost | [`Cluster::cut`], [`Cluster::isolate`]; [`Cluster::heal`] |
//! | the cable is pulled | [`Cluster::unplug`], [`Cluster::plug`] |
//! | the line is slow | [`Cluster::slow_down`], [`Cluster::speed_up`] |
//! | the disk is full | [`Cluster::with_small_disks`]; [`Cluster::fill_disk`], [`Cluster::free_disk`] |
//!
//! Hosts are numbered from 0; their names are `node0`, `node1`, … Nothing here sleeps for a state: it
//! is watched, with a bound. All of it is gone when the cluster is dropped, whatever state it is in.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Host, Ran, anchor, eventually};

/// Which packets between two hosts are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Both,
    /// Only those that the first one sends to the second.
    There,
}

/// What a joining node becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Manager,
    Worker,
}

/// Where a registry on the switch answers, if there is one; every node speaks to it in clear.
pub(crate) const REGISTRY: &str = "10.77.0.254:5000";

pub(crate) struct Cluster {
    /// First, so that its nodes end before the switch.
    hosts: Vec<Host>,
    switch: Host,
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Cluster {
    /// Hosts that reach each other, without nodes.
    pub(crate) fn hosts(count: usize) -> Self {
        let switch = Host::bare();
        switch
            .shell(
                "ip link add switch type bridge forward_delay 0 && ip addr add 10.77.0.254/24 dev switch \
                 && ip link set switch up",
            )
            .succeeds();
        let mut cluster = Self {
            hosts: Vec::new(),
            switch,
        };
        for index in 0..count {
            cluster.hosts.push(Host::bare());
            cluster.connect(index);
        }
        cluster
    }

    /// The same, with a node on each that knows of no other.
    pub(crate) fn nodes(count: usize) -> Self {
        let mut cluster = Self::hosts(count);
        for host in &mut cluster.hosts {
            host.spawn_agent();
        }
        for host in &cluster.hosts {
            host.wait_for_agent();
        }
        cluster
    }

    /// A cluster of so many managers and workers, in this order, that all are ready. Host 0 founded
    /// it; every host has busybox.
    pub(crate) fn of(managers: usize, workers: usize) -> Self {
        let cluster = Self::nodes(managers + workers);
        for host in &cluster.hosts {
            host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
        }
        cluster.found(managers);
        cluster
    }

    /// The same, and what each node writes down lies on a disk of its own, which is small.
    pub(crate) fn with_small_disks(managers: usize, workers: usize) -> Self {
        let mut cluster = Self::hosts(managers + workers);
        for host in &mut cluster.hosts {
            let data = host.path("data");
            fs::create_dir_all(&data).expect("a folder for the disk");
            let disk = format!("mount -t tmpfs -o size=24m none {}", data.display());
            host.shell(&disk).succeeds();
            host.start_agent();
            host.import("busybox", "busybox:1.35", &["--change", r#"CMD ["sh"]"#]);
        }
        cluster.found(managers);
        cluster
    }

    /// The same as [`Self::of`], and no host has an image.
    pub(crate) fn without_images(managers: usize, workers: usize) -> Self {
        let cluster = Self::nodes(managers + workers);
        cluster.found(managers);
        cluster
    }

    /// Makes one cluster of the nodes, the first ones being its managers.
    fn found(&self, managers: usize) {
        self.init(0);
        for index in 1..self.count() {
            let role = match index < managers {
                true => Role::Manager,
                false => Role::Worker,
            };
            self.join(index, 0, role);
        }
        self.wait_until_ready();
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    pub(crate) fn host_mut(&mut self, index: usize) -> &mut Host {
        &mut self.hosts[index]
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// The switch is a host as well, without a node: a client from outside.
    pub(crate) fn switch(&self) -> &Host {
        &self.switch
    }

    pub(crate) fn address(&self, index: usize) -> String {
        format!("10.77.0.{}", index + 1)
    }

    pub(crate) fn name(&self, index: usize) -> String {
        format!("node{index}")
    }

    /// Plugs a host into the switch, and names it.
    fn connect(&self, index: usize) {
        let host = &self.hosts[index];
        // The cable of a machine that lost its power goes with its namespace, a little later.
        self.switch
            .shell(&format!(
                "ip link del port{index} 2>/dev/null; ip link add port{index} type veth peer name cable0 netns {} \
                 && ip link set port{index} master switch up",
                host.anchor.id()
            ))
            .succeeds();
        host.shell(&format!(
            "hostname {} && ip addr add {}/24 dev cable0 && ip link set cable0 up \
             && ip route add default via 10.77.0.254",
            self.name(index),
            self.address(index)
        ))
        .succeeds();
    }

    // ---- membership

    pub(crate) fn init(&self, index: usize) -> Ran {
        let address = self.address(index);
        self.hosts[index]
            .wharfie(&format!("cluster init --advertise-addr {address}"))
            .succeeds()
    }

    /// Joins a host to the cluster that another one is a manager of.
    pub(crate) fn join(&self, index: usize, manager: usize, role: Role) -> Ran {
        let word = match role {
            Role::Manager => "manager",
            Role::Worker => "worker",
        };
        let token = self.hosts[manager]
            .wharfie(&format!("cluster join-token -q {word}"))
            .succeeds()
            .stdout;
        let (own, other) = (self.address(index), self.address(manager));
        let token = token.trim();
        self.hosts[index]
            .wharfie(&format!(
                "join --advertise-addr {own} --token {token} {other}:2377"
            ))
            .succeeds()
    }

    /// Waits until the first host sees every node ready, and every manager vote.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        self.within(secs(60), "every node is ready", || {
            let nodes = self.nodes_seen_by(0)?;
            let ready = nodes.iter().filter(|node| node.status == "Ready").count();
            let settled =
                |node: &SeenNode| matches!(node.manager.as_str(), "" | "Leader" | "Reachable");
            let leads = nodes.iter().any(|node| node.manager == "Leader");
            // A manager that is still catching up does not vote: without the others all is lost.
            if ready == self.hosts.len() && leads && nodes.iter().all(settled) {
                return Ok(());
            }
            Err(format!("{nodes:?}"))
        });
    }

    /// `node ls` as one host shows it.
    pub(crate) fn nodes_seen_by(&self, index: usize) -> Result<Vec<SeenNode>, String> {
        let ran = self.hosts[index].wharfie("node ls --format json");
        if ran.code != 0 {
            return Err(ran.to_string());
        }
        Ok(ran.stdout.lines().filter_map(SeenNode::read).collect())
    }

    /// The host that leads, as the first manager that answers says.
    pub(crate) fn leader(&self) -> Option<usize> {
        (0..self.hosts.len())
            .filter(|index| self.hosts[*index].agent.is_some())
            .find_map(|index| self.leader_seen_by(index))
    }

    /// The host that leads, as one manager says.
    pub(crate) fn leader_seen_by(&self, index: usize) -> Option<usize> {
        let nodes = self.nodes_seen_by(index).ok()?;
        let leader = nodes.into_iter().find(|node| node.manager == "Leader")?;
        leader.hostname.strip_prefix("node")?.parse().ok()
    }

    /// Tries until it succeeds, for at most so long; returns what came out and how long it took.
    #[track_caller]
    pub(crate) fn within<T>(
        &self,
        bound: Duration,
        what: &str,
        mut check: impl FnMut() -> Result<T, String>,
    ) -> (T, Duration) {
        let begun = Instant::now();
        loop {
            match check() {
                Ok(value) => return (value, begun.elapsed()),
                Err(why) if begun.elapsed() > bound => {
                    panic!("{what}: not within {bound:?}\n{why}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    // ---- what can happen to a node's process

    /// The node's process dies; its containers go on.
    pub(crate) fn kill(&mut self, index: usize) {
        self.hosts[index].kill_agent();
    }

    pub(crate) fn start(&mut self, index: usize) {
        self.hosts[index].start_agent();
    }

    /// The node's process stands still, as on a machine that is overloaded or asleep.
    pub(crate) fn freeze(&self, index: usize) {
        self.signal(index, Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self, index: usize) {
        self.signal(index, Signal::SIGCONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let pid = i32::try_from(self.hosts[index].agent_pid()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    // ---- what can happen to a machine

    /// Everything on the machine ends at once, and what is not on disk is lost.
    pub(crate) fn power_off(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.kill_agent();
        host.kill_containers();
        let _ = host.anchor.kill();
        let _ = host.anchor.wait();
        let _ = fs::remove_dir_all(host.path("run"));
    }

    /// The machine boots, and its node with it.
    pub(crate) fn power_on(&mut self, index: usize) {
        self.hosts[index].anchor = anchor();
        self.connect(index);
        self.hosts[index].start_agent();
    }

    /// Of [`Self::with_small_disks`]: nothing more can be written, but into what is set aside.
    pub(crate) fn fill_disk(&self, index: usize) {
        let filler = self.hosts[index].path("data/filler");
        let fill = format!("dd if=/dev/zero of={} bs=64k; true", filler.display());
        self.hosts[index].shell(&fill).succeeds();
    }

    pub(crate) fn free_disk(&self, index: usize) {
        let filler = self.hosts[index].path("data/filler");
        let free = format!("rm {}", filler.display());
        self.hosts[index].shell(&free).succeeds();
    }

    /// The process of a container, as its host's own API shows it; `None` while it has none.
    pub(crate) fn pid_of(&self, host: usize, container: &str) -> Option<u64> {
        let socket = self.hosts[host].path("run/wharfie.sock");
        let ran = self.hosts[host].shell(&format!(
            "curl -sf --max-time 5 --unix-socket {} http://node/containers/{container}/json",
            socket.display()
        ));
        let state: serde_json::Value = serde_json::from_str(&ran.stdout).ok()?;
        state["State"]["Pid"].as_u64().filter(|pid| *pid > 0)
    }

    // ---- what can happen to the network

    /// Packets from one host to another are lost from now on, without a word.
    pub(crate) fn cut(&self, from: usize, to: usize, direction: Direction) {
        self.lose(from, to);
        if direction == Direction::Both {
            self.lose(to, from);
        }
    }

    /// Two sides that do not hear each other any more.
    pub(crate) fn split(&self, one: &[usize], other: &[usize]) {
        for from in one {
            for to in other {
                self.cut(*from, *to, Direction::Both);
            }
        }
    }

    /// Packets between a host and all others are lost.
    pub(crate) fn isolate(&self, index: usize) {
        for other in (0..self.hosts.len()).filter(|other| *other != index) {
            self.cut(index, other, Direction::Both);
        }
    }

    /// No packet is lost any more; cables that were pulled stay so.
    pub(crate) fn heal(&self) {
        for host in &self.hosts {
            host.shell("nft delete table inet faults 2>/dev/null || true");
        }
    }

    /// Pulls the cable out of a host; the host sees that it is gone.
    pub(crate) fn unplug(&self, index: usize) {
        self.switch
            .shell(&format!("ip link set port{index} down"))
            .succeeds();
    }

    pub(crate) fn plug(&self, index: usize) {
        self.switch
            .shell(&format!("ip link set port{index} up"))
            .succeeds();
    }

    /// So many kilobits a second, in each direction, and what does not fit waits (tc-tbf(8)).
    pub(crate) fn slow_down(&self, index: usize, kilobits: u32) {
        let shape = |link: &str| {
            format!("tc qdisc replace dev {link} root tbf rate {kilobits}kbit burst 4kb latency 2s")
        };
        self.hosts[index].shell(&shape("cable0")).succeeds();
        self.switch
            .shell(&shape(&format!("port{index}")))
            .succeeds();
    }

    pub(crate) fn speed_up(&self, index: usize) {
        self.hosts[index]
            .shell("tc qdisc del dev cable0 root")
            .succeeds();
        self.switch
            .shell(&format!("tc qdisc del dev port{index} root"))
            .succeeds();
    }

    /// Before anything of the receiver sees them, its own rules included.
    fn lose(&self, from: usize, to: usize) {
        self.hosts[to]
            .shell(&format!(
                "nft 'add table inet faults; \
                 add chain inet faults lose {{ type filter hook prerouting priority -500; }}; \
                 add rule inet faults lose ip saddr {} drop'",
                self.address(from)
            ))
            .succeeds();
    }
}

/// A line of `node ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenNode {
    pub(crate) hostname: String,
    /// `Ready`, `Down`, …
    pub(crate) status: String,
    pub(crate) availability: String,
    /// `Leader`, `Reachable`, `Unreachable`; empty for a worker.
    pub(crate) manager: String,
}

impl SeenNode {
    fn read(line: &str) -> Option<Self> {
        let node: serde_json::Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| Some(node[name].as_str()?.to_owned());
        Some(Self {
            hostname: field("Hostname")?,
            status: field("Status")?,
            availability: field("Availability")?,
            manager: field("ManagerStatus")?,
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            // A node that stands still, or has lost its cluster, removes nothing.
            host.kill_agent();
            host.kill_containers();
        }
    }
}

impl Host {
    /// Ends every process of every container, whatever state its node is in, and takes their groups away.
    fn kill_containers(&mut self) {
        let groups = || {
            fs::read_dir("/sys/fs/cgroup")
                .into_iter()
                .flatten()
                .flatten()
        };
        let ids = self.containers();
        let held = |id: &str| {
            groups()
                .map(move |group| group.path())
                .chain([Path::new("/sys/fs/cgroup").to_owned()])
                .map(|group| group.join("wharfie").join(id))
                .filter(|group| group.exists())
                .collect::<Vec<_>>()
        };
        eventually("the containers have ended", || {
            let mut left: Vec<i32> = self.shim_pids();
            for group in ids.iter().flat_map(|id| held(id)) {
                let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                left.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
                if text.is_empty() {
                    let _ = fs::remove_dir(&group);
                }
            }
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
    }

    fn shim_pids(&self) -> Vec<i32> {
        let pid = |line: &str| line.split(' ').next()?.strip_prefix("/proc/")?.parse().ok();
        self.shims().lines().filter_map(pid).collect()
    }
}
