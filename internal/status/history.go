package status

import (
	"math"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// kept is how many verdicts of a replica are kept.
const kept = 10

// History is what is kept of the verdicts of one replica: 64 bytes while all is
// well, since there may be a hundred thousand. It is a value: a copy does not
// change with the original.
type History struct {
	trouble *trouble         // nil while all was well since the start; never changed, but replaced
	newest  uint32           // when the newest verdict came, in seconds since 1970; 0 if there was none
	since   uint32           // when its health was first seen
	expiry  uint32           // of the target's certificate; 0 without one
	ages    [kept - 1]uint16 // by how many seconds a verdict came before the next one
	results [kept]uint16     // latency and health of each, the newest first
	tries   [kept / 2]uint8  // attempts of each, four bits
	n       uint8            // how many there are
}

// trouble is what is known of a replica with which something was wrong.
type trouble struct {
	reason   string // of the newest result; empty if all was well with it
	kind     probe.Kind
	probedAt time.Time // when that came
	unjudged bool      // it was no verdict
	began    time.Time // while unjudged: when the first such result in a row came

	failedAt time.Time // the last result in which an attempt was down
	failure  string
	failed   probe.Kind
	attempts []probe.Attempt
}

// Record adds a verdict.
func (h *History) Record(now time.Time, r probe.Result) {
	at := seconds(now)
	if h.n > 0 {
		copy(h.ages[1:], h.ages[:])
		h.ages[0] = uint16(min(max(int64(at)-int64(h.newest), 0), math.MaxUint16))
	}
	copy(h.results[1:], h.results[:])
	for i := len(h.tries) - 1; i >= 0; i-- {
		h.tries[i] <<= 4
		if i > 0 {
			h.tries[i] |= h.tries[i-1] >> 4
		}
	}
	health := healthCode(r.Health)
	if h.n == 0 || health != uint8(h.results[1]&3) {
		h.since = at
	}
	h.newest = at
	h.results[0] = logLatency(r.Latency)<<2 | uint16(health)
	h.tries[0] |= uint8(min(max(r.Attempts, 0), 15))
	h.n = min(h.n+1, kept)
	if h.expiry = 0; !r.Expiry.IsZero() {
		h.expiry = seconds(r.Expiry)
	}
	h.note(now, r, verdict)
}

// TakeBack removes the newest verdict, of which there must be one, and returns its result
// again.
func (h *History) TakeBack() probe.Result {
	r := probe.Result{Health: h.Health(), Latency: h.Latency(), Attempts: int(h.tries[0] & 15)}
	if t := h.trouble; t != nil && t.reason != "" {
		r.Err, r.Trace = &probe.Error{Kind: t.kind, Reason: t.reason}, t.attempts
	}
	at := h.newest - uint32(h.ages[0])
	copy(h.ages[:], h.ages[1:])
	copy(h.results[:], h.results[1:])
	for i := range h.tries {
		h.tries[i] >>= 4
		if i+1 < len(h.tries) {
			h.tries[i] |= h.tries[i+1] << 4
		}
	}
	h.ages[kept-2], h.results[kept-1] = 0, 0
	if h.n--; h.n == 0 {
		h.newest, h.since = 0, 0
		return r
	}
	h.newest, h.since = at, at
	for i := 1; i < int(h.n) && h.results[i]&3 == h.results[0]&3; i++ {
		h.since -= uint32(h.ages[i-1])
	}
	return r
}

// Unjudged notes a result without a verdict.
func (h *History) Unjudged(now time.Time, r probe.Result) { h.note(now, r, unjudged) }

// Withheld notes a death that is no verdict yet.
func (h *History) Withheld(now time.Time, r probe.Result) { h.note(now, r, withheld) }

// Forget forgets all: the replica is new to the page.
func (h *History) Forget() { *h = History{} }

// Health returns the health of the newest verdict.
func (h *History) Health() probe.Health {
	if h.n == 0 {
		return probe.Unknown
	}
	return healths[h.results[0]&3]
}

// Since returns when the health of the newest verdict was first seen.
func (h *History) Since() time.Time { return unix(h.since) }

// JudgedAt returns when the newest verdict came, to the second; zero if there was none.
func (h *History) JudgedAt() time.Time { return unix(h.newest) }

// ProbedAt returns when the newest result came.
func (h *History) ProbedAt() time.Time {
	if h.trouble != nil {
		return h.trouble.probedAt
	}
	return unix(h.newest)
}

// Expiry returns when the target's certificate expires; zero without one.
func (h *History) Expiry() time.Time { return unix(h.expiry) }

// Kind returns what the newest result failed at; empty if at nothing.
func (h *History) Kind() probe.Kind {
	if h.trouble == nil {
		return ""
	}
	return h.trouble.kind
}

// Latency returns that of the newest verdict.
func (h *History) Latency() time.Duration { return latencyOf(h.results[0] >> 2) }

// Local returns this host's own trouble, by which the replica has no verdict,
// and since when; false if it has one.
func (h *History) Local() (reason string, kind probe.Kind, since time.Time, ok bool) {
	t := h.trouble
	if t == nil || !t.unjudged {
		return "", "", time.Time{}, false
	}
	return t.reason, t.kind, t.began, true
}

// note keeps what was wrong with a result, and that an earlier one was.
func (h *History) note(now time.Time, r probe.Result, as noted) {
	reason, failed := r.Reason(), len(r.Trace) > 0 || r.Err != nil
	if h.trouble == nil && reason == "" && !failed {
		return
	}
	t := &trouble{}
	if h.trouble != nil {
		*t = *h.trouble
	}
	t.reason, t.kind, t.probedAt = reason, r.Kind(), now
	switch {
	case as != unjudged:
		t.unjudged = false
	case !t.unjudged:
		t.unjudged, t.began = true, now
	}
	if failed {
		t.failedAt, t.failure, t.failed, t.attempts = now, reason, t.kind, r.Trace
		if last := len(r.Trace) - 1; r.Err == nil && last >= 0 { // it was up in the end
			t.failure, t.failed = r.Trace[last].Err.Error(), r.Trace[last].Kind()
		}
	}
	h.trouble = t
}

// noted is what a result is noted as.
type noted string

const (
	verdict  noted = "verdict"
	unjudged noted = "unjudged"
	withheld noted = "withheld"
)

// healths has the health of each code.
var healths = [...]probe.Health{probe.Unknown, probe.Healthy, probe.Sick, probe.Dead}

func healthCode(h probe.Health) uint8 {
	for code, health := range healths {
		if health == h {
			return uint8(code)
		}
	}
	return 0
}

// seconds returns t in seconds since 1970, as far as 32 bits go.
func seconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

// unix is the reverse of seconds; zero for 0.
func unix(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// steps is how finely a latency is kept: so many values for each doubling, in
// 14 bits from a microsecond on. It is off by a thousandth at most.
const steps = 512

// logLatency returns d on a logarithmic scale, in 14 bits.
func logLatency(d time.Duration) uint16 {
	if d < time.Microsecond {
		return 0
	}
	return uint16(min(math.Round(math.Log2(float64(d)/float64(time.Microsecond))*steps)+1, 1<<14-1))
}

// latencyOf is the reverse of logLatency.
func latencyOf(v uint16) time.Duration {
	if v == 0 {
		return 0
	}
	return time.Duration(math.Exp2(float64(v-1)/steps) * float64(time.Microsecond))
}
