//! The chains that never change, and the declarations of the sets that they look things up in.

// `priority filter - 5` puts our decision before the host's own chains, which can still drop.
pub(super) const SKELETON: &str = r#"table inet TABLE {
	set bridges { type ifname; }
	set bridges6 { type ifname; }
	set internal { type ifname; }
	set same { type ifname . ifname; }
	set open { type ifname . ifname; }
	set masquerade_from { type ipv4_addr; flags interval; }
	set masquerade_from6 { type ipv6_addr; flags interval; }
	set published { type ipv4_addr . inet_proto . inet_service; }
	set published6 { type ipv6_addr . inet_proto . inet_service; }
	map tcp_any { type inet_service : ipv4_addr . inet_service; }
	map tcp_any6 { type inet_service : ipv6_addr . inet_service; }
	map udp_any { type inet_service : ipv4_addr . inet_service; }
	map udp_any6 { type inet_service : ipv6_addr . inet_service; }
	map tcp_on { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
	map tcp_on6 { type ipv6_addr . inet_service : ipv6_addr . inet_service; }
	map udp_on { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
	map udp_on6 { type ipv6_addr . inet_service : ipv6_addr . inet_service; }
	map tcp_shared { type inet_service : verdict; }
	map tcp_shared6 { type inet_service : verdict; }
	map udp_shared { type inet_service : verdict; }
	map udp_shared6 { type inet_service : verdict; }
	map tcp_shared_on { type ipv4_addr . inet_service : verdict; }
	map tcp_shared_on6 { type ipv6_addr . inet_service : verdict; }
	map udp_shared_on { type ipv4_addr . inet_service : verdict; }
	map udp_shared_on6 { type ipv6_addr . inet_service : verdict; }
	map beyond { type ipv4_addr : ipv4_addr; }
	map beyond6 { type ipv6_addr : ipv6_addr; }
	set inside { type ipv4_addr; flags interval; }
	set inside6 { type ipv6_addr; flags interval; }
	set direct { type ipv4_addr; }
	set direct6 { type ipv6_addr; }
	map marks { type ifname . ether_addr : mark; }
	map zones { typeof iifname . ether saddr : ct zone; }
	set ways { type mark; }
	set guarded { type inet_service; }
	set nodes { type ipv4_addr; }
	set nodes6 { type ipv6_addr; }

	chain raw {
		type filter hook prerouting priority raw; policy accept;
		iifname @bridges ip daddr 127.0.0.0/8 drop
		iifname @bridges ip saddr 127.0.0.0/8 drop
		iifname @bridges ip6 daddr ::1 drop
		iifname @bridges ip6 saddr ::1 drop
	}
	chain entry_zone {
		type filter hook prerouting priority raw; policy accept;
		ct original zone set iifname . ether saddr map @zones
	}
	chain entry_mark {
		type filter hook prerouting priority mangle; policy accept;
		ct state new ct mark set iifname . ether saddr map @marks
	}
	chain publish {
		meta nfproto ipv6 goto publish6
		meta l4proto tcp dnat ip to ip daddr . tcp dport map @tcp_on
		meta l4proto tcp dnat ip to tcp dport map @tcp_any
		meta l4proto udp dnat ip to ip daddr . udp dport map @udp_on
		meta l4proto udp dnat ip to udp dport map @udp_any
		ip daddr . tcp dport vmap @tcp_shared_on
		tcp dport vmap @tcp_shared
		ip daddr . udp dport vmap @udp_shared_on
		udp dport vmap @udp_shared
	}
	chain publish6 {
		meta l4proto tcp dnat ip6 to ip6 daddr . tcp dport map @tcp_on6
		meta l4proto tcp dnat ip6 to tcp dport map @tcp_any6
		meta l4proto udp dnat ip6 to ip6 daddr . udp dport map @udp_on6
		meta l4proto udp dnat ip6 to udp dport map @udp_any6
		ip6 daddr . tcp dport vmap @tcp_shared_on6
		tcp dport vmap @tcp_shared6
		ip6 daddr . udp dport vmap @udp_shared_on6
		udp dport vmap @udp_shared6
	}
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 127.0.0.0/8 return
		fib daddr type local jump publish
	}
	chain output {
		type nat hook output priority -100; policy accept;
		ip6 daddr ::1 return
		fib daddr type local jump publish
	}
	chain input {
		type filter hook input priority filter - 5; policy accept;
		udp dport @guarded ip saddr != @nodes drop
		udp dport @guarded ip6 saddr != @nodes6 drop
	}
	chain forward {
		type filter hook forward priority filter - 5; policy accept;
		iifname != @bridges oifname != @bridges accept
		meta nfproto ipv6 iifname @bridges iifname != @bridges6 drop
		meta nfproto ipv6 oifname @bridges oifname != @bridges6 drop
		ct state established,related accept
		ct state invalid drop
		iifname . oifname @open accept
		iifname @internal drop
		oifname @internal drop
		ct status dnat ip daddr . meta l4proto . th dport @published accept
		ct status dnat ip6 daddr . meta l4proto . th dport @published6 accept
		iifname . oifname @same ct mark @ways ip daddr . meta l4proto . th dport @published accept
		iifname . oifname @same ct mark @ways ip6 daddr . meta l4proto . th dport @published6 accept
		iifname @bridges oifname != @bridges accept
		drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat ip daddr @direct ip saddr != @inside fib saddr type != local accept
		ct status dnat ip6 daddr @direct6 ip6 saddr != @inside6 fib saddr type != local accept
		ct status dnat snat ip to ip daddr map @beyond
		ct status dnat snat ip6 to ip6 daddr map @beyond6
		oifname @bridges fib saddr type local snat ip to ip daddr map @beyond
		oifname @bridges fib saddr type local snat ip6 to ip6 daddr map @beyond6
		ip saddr 127.0.0.0/8 oifname @bridges masquerade
		ct status dnat iifname . oifname @same masquerade
		ip saddr @masquerade_from oifname != @bridges masquerade
		ip6 saddr @masquerade_from6 oifname != @bridges masquerade
	}
}
table bridge TABLE {
	set veths { type ifname; }
	set pinned { type ifname . ether_addr . ipv4_addr; }
	set pinned6 { type ifname . ether_addr . ipv6_addr; }
	set told { typeof iifname . ether saddr . @th,64,128; }
	set own { type ether_addr; }
	map own_of { type ifname : ether_addr; }
	map gateways { type ifname : ether_addr; }
	set entries { type ifname . ether_addr; }
	set inside { type ipv4_addr; flags interval; }
	set inside6 { type ipv6_addr; flags interval; elements = { ::/128, fe80::/10 } }

	chain prerouting {
		type filter hook prerouting priority filter; policy accept;
		ether daddr @own meta pkttype set host
		ether type { ip, ip6 } iifname . ether saddr @entries ether daddr set iifname map @gateways meta pkttype set host
		iifname != @veths accept
		ether type ip iifname . ether saddr . ip saddr @pinned accept
		ether type arp iifname . ether saddr . arp saddr ip @pinned accept
		ether type ip6 iifname . ether saddr . ip6 saddr @pinned6 jump pinned6
		drop
	}
	chain pinned6 {
		icmpv6 type { nd-router-advert, nd-redirect } drop
		icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @told drop
		accept
	}
	chain postrouting {
		type filter hook postrouting priority filter; policy accept;
		ether type ip ip saddr != @inside ether saddr set oifname map @own_of
		ether type ip6 ip6 saddr != @inside6 ether saddr set oifname map @own_of
	}
}
"#;
