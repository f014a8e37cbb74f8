package probe

// ICMP says in words by which sockets this process sends ICMP, for an operator;
// empty if it may open none.
func (p *Prober) ICMP() string {
	v4, v6 := p.pinger.v4, p.pinger.v6
	families := "IPv4 and IPv6"
	switch {
	case v4 == nil && v6 == nil:
		return ""
	case v6 == nil:
		families = "IPv4 alone"
	case v4 == nil:
		families, v4 = "IPv6 alone", v6
	}
	if v4.raw {
		return "raw socket (CAP_NET_RAW), " + families
	}
	return "unprivileged socket (net.ipv4.ping_group_range), " + families
}
