package status

import (
	"math"
	"net/netip"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Record is what the daemon knows of a replica, as a copy that does not change.
type Record struct {
	Check         *probe.Check
	History       History
	Withheld      bool      // a death that is not reported yet awaits confirmation
	RepeatedUntil time.Time // while it has no verdict; zero if its last one is not repeated
}

// Show returns the replica in the form in which it is shown. Its report is the
// caller's to add.
func (rec *Record) Show() Replica {
	c, h := rec.Check, &rec.History
	r := Replica{
		Service:  c.ServiceID,
		Node:     c.NodeID,
		Replica:  c.Target.String(),
		Scheme:   string(c.Target.Scheme()),
		Health:   HealthName(h.Health()),
		Since:    h.Since(),
		ProbedAt: h.ProbedAt().UTC(),
		Withheld: rec.Withheld,
		History:  h.verdicts(),
	}
	if len(r.History) > 0 {
		r.LatencySeconds, r.Attempts = r.History[0].LatencySeconds, r.History[0].Attempts
	}
	if t := h.trouble; t != nil {
		r.Reason, r.Kind = t.reason, string(t.kind)
		if !t.failedAt.IsZero() {
			r.LastFailure = &LastFailure{At: t.failedAt.UTC(), Reason: t.failure, Kind: string(t.failed), Attempts: Attempts(t.failedAt, t.attempts)}
		}
	}
	return r
}

// HealthName returns how a health is shown.
func HealthName(h probe.Health) string {
	if h == probe.Unknown {
		return "unknown"
	}
	return string(h)
}

// verdicts returns those that are kept, the newest first.
func (h *History) verdicts() []Verdict {
	all := make([]Verdict, h.n)
	at := int64(h.newest)
	for i := range all {
		if i > 0 {
			at -= int64(h.ages[i-1])
		}
		all[i] = Verdict{
			At:             time.Unix(at, 0).UTC(),
			Health:         HealthName(healths[h.results[i]&3]),
			LatencySeconds: rounded(latencyOf(h.results[i] >> 2)),
			Attempts:       int(h.tries[i/2] >> (i % 2 * 4) & 15),
		}
	}
	return all
}

// Attempts returns the attempts of a probe in the form in which they are shown;
// the days that a certificate is valid for count from now.
func Attempts(now time.Time, trace []probe.Attempt) []Attempt {
	all := make([]Attempt, len(trace))
	for i := range trace {
		all[i] = showAttempt(now, &trace[i])
	}
	return all
}

func showAttempt(now time.Time, a *probe.Attempt) Attempt {
	shown := Attempt{
		Address:          address(a.Addr, a.Port),
		DNSSeconds:       rounded(a.DNS),
		ConnectSeconds:   rounded(a.Connect),
		TLSSeconds:       rounded(a.TLS),
		FirstByteSeconds: rounded(a.FirstByte),
		BodySeconds:      rounded(a.Body),
		TotalSeconds:     rounded(a.Total),
		Status:           a.Status,
		Kind:             string(a.Kind()),
		TLS:              showSession(now, a.Session),
	}
	for _, addr := range a.Addrs {
		shown.Addresses = append(shown.Addresses, address(addr, a.Port))
	}
	if a.Err != nil {
		shown.Reason = a.Err.Error()
	}
	return shown
}

func showSession(now time.Time, s probe.Session) *TLS {
	if s.Version == 0 && s.NotAfter.IsZero() {
		return nil
	}
	shown := &TLS{Subject: s.Subject, Issuer: s.Issuer}
	shown.Version, shown.Cipher = s.Names()
	if !s.NotAfter.IsZero() {
		shown.NotAfter = s.NotAfter.UTC()
		days := int(math.Floor(s.NotAfter.Sub(now).Hours() / 24))
		shown.DaysLeft = &days
	}
	return shown
}

// address returns an address as it is written, with its port if it has one.
func address(addr netip.Addr, port uint16) string {
	switch {
	case !addr.IsValid():
		return ""
	case port == 0:
		return addr.String()
	}
	return netip.AddrPortFrom(addr, port).String()
}

// rounded returns d in seconds, to the microsecond: more digits say nothing.
func rounded(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e6 }
