//! Finds out when another firewall on this host drops what ours lets through.
//!
//! Every table has its say in nftables: what one accepts another can still drop. A Docker engine
//! sets the policy of iptables' `FORWARD` chain to drop, and so do some hosts' own firewalls.
//! Foreign tables are never touched, so all that can be done is to say so.

/// What iptables has, as nft shows it. Rules of the older iptables-legacy cannot be seen so.
pub(super) const TABLE: [&str; 4] = ["list", "table", "ip", "filter"];

/// The warning that follows from a listing of that table; pure.
pub(super) fn warning(listing: &str) -> Option<String> {
    let mut lines = listing.lines().map(str::trim);
    lines.find(|line| *line == "chain FORWARD {")?;
    let head = lines.next()?;
    // Somebody let our bridges (`wh-…`) pass already.
    if !head.contains("policy drop") || listing.contains("\"wh-") {
        return None;
    }
    Some(
        "the host's firewall drops forwarded packets (iptables chain FORWARD), so containers \
         cannot reach the world, nor the world their published ports; let them pass with \
         `iptables -I FORWARD -i wh-+ -j ACCEPT` and `iptables -I FORWARD -o wh-+ -j ACCEPT`"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropping_forward_chain_is_told_unless_our_bridges_pass() {
        let listing = |policy: &str, rule: &str| {
            format!(
                "table ip filter {{\n\tchain INPUT {{\n\t\ttype filter hook input priority filter; policy drop;\n\t}}\n\
                 \tchain FORWARD {{\n\t\ttype filter hook forward priority filter; policy {policy};\n\t\t{rule}\n\t}}\n}}\n"
            )
        };
        assert!(warning(&listing("drop", "counter")).is_some());
        assert!(warning(&listing("accept", "counter")).is_none());
        assert!(warning(&listing("drop", "iifname \"wh-*\" counter accept")).is_none());
        assert!(warning("").is_none());
        assert!(warning("table ip filter {\n\tchain FORWARD {").is_none());
    }
}
