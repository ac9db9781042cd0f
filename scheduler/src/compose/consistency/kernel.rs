//! Names that the kernel must know: signals, capabilities, limits, rights to devices.
//!
//! Source: signal(7), capabilities(7), getrlimit(2).

use super::Service;
use crate::compose::check::nearest;
use crate::compose::document::Node;

const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl Service<'_> {
    pub(super) fn kernel_names(&mut self) {
        if let Some(node) = self.node.get("stop_signal") {
            self.signal(node);
        }
        for key in ["cap_add", "cap_drop"] {
            for item in self.node.get(key).map(Node::items).unwrap_or_default() {
                self.capability(item);
            }
        }
        let limits = self.node.get("ulimits").into_iter().flat_map(Node::entries);
        for (name, entry) in limits {
            if !LIMITS.contains(&name) && !name.starts_with("x-") {
                let title = format!("`{name}` is not a limit of the kernel");
                let diagnostic = self.problems.error(entry.key, title);
                if let Some(meant) = nearest(name, LIMITS.iter().copied()) {
                    diagnostic.suggest(meant);
                }
            }
        }
        for item in self
            .node
            .get("devices")
            .map(Node::items)
            .unwrap_or_default()
        {
            let rights = item.get("permissions");
            let wrong = |it: &&Node| {
                let text = it.as_str().unwrap_or_default();
                !text.contains('$')
                    && (text.is_empty() || text.contains(|it| !matches!(it, 'r' | 'w' | 'm')))
            };
            if let Some(node) = rights.filter(wrong) {
                let text = node.as_str().unwrap_or_default();
                let title = format!("`{text}` are no rights to a device");
                self.problems
                    .error(node.span, title)
                    .set_help("write some of `r` (read), `w` (write) and `m` (make the node)");
            }
        }
    }

    fn signal(&mut self, node: &Node) {
        let text = node.as_str().unwrap_or_default();
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let base = name.split(['+', '-']).next().unwrap_or(name);
        let real_time = matches!(base, "RTMIN" | "RTMAX");
        let known = SIGNALS.contains(&name) || (real_time && SIGNALS.contains(&base));
        let number = text.parse::<u8>().is_ok_and(|it| (1..=64).contains(&it));
        if known || number || text.is_empty() || text.contains('$') {
            return;
        }
        let diagnostic = self
            .problems
            .error(node.span, format!("`{text}` is not a signal"));
        match nearest(name, SIGNALS.iter().copied()) {
            Some(meant) => diagnostic.suggest(&format!("SIG{meant}")),
            None => diagnostic.set_help("write a name such as `SIGTERM`, or a number up to 64"),
        };
    }

    fn capability(&mut self, node: &Node) {
        let text = node.as_str().unwrap_or_default();
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if text.contains('$') || CAPABILITIES.contains(&name) {
            return;
        }
        let title = format!("`{text}` is not a capability");
        let diagnostic = self.problems.error(node.span, title);
        match nearest(name, CAPABILITIES.iter().copied()) {
            Some(meant) => diagnostic.suggest(meant),
            None => diagnostic.set_help("capabilities(7) lists them; `ALL` is every one"),
        };
    }
}
