package status

import (
	"maps"
	"slices"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Tally counts by two labels, each of which has few values.
type Tally map[[2]string]uint64

// Histogram counts durations by the bucket that they fall into.
type Histogram struct {
	Bounds []float64 // seconds, ascending
	Counts []uint64  // of each bound; what is above the last is in Count alone
	Count  uint64
	Sum    float64
}

// NewHistogram returns an empty one.
func NewHistogram(bounds []float64) *Histogram {
	return &Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds))}
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	h.Count++
	h.Sum += d.Seconds()
	if i, _ := slices.BinarySearch(h.Bounds, d.Seconds()); i < len(h.Bounds) {
		h.Counts[i]++
	}
}

func (h *Histogram) clone() *Histogram {
	c := *h
	c.Counts = slices.Clone(h.Counts)
	return &c
}

// AttemptBounds returns the buckets of attempts: 1 ms, doubling to 33 s.
func AttemptBounds() []float64 {
	bounds := make([]float64, 16)
	for i := range bounds {
		bounds[i] = 0.001 * float64(uint(1)<<i)
	}
	return bounds
}

// RequestBounds returns the buckets of requests to the Status API.
func RequestBounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20}
}

// Requests counts the requests to the Status API of one kind.
type Requests struct {
	Outcomes map[string]uint64
	Duration *Histogram
}

// NewRequests returns an empty count.
func NewRequests() Requests {
	return Requests{make(map[string]uint64), NewHistogram(RequestBounds())}
}

// Count counts a request that took so long.
func (r Requests) Count(outcome string, took time.Duration) {
	r.Outcomes[outcome]++
	r.Duration.Observe(took)
}

// Clone returns a copy that does not change.
func (r Requests) Clone() Requests {
	return Requests{maps.Clone(r.Outcomes), r.Duration.clone()}
}

// Probing counts the outcomes of probes since the start.
type Probing struct {
	Verdicts   Tally                 // by scheme and health
	Attempts   Tally                 // by scheme, and up or what they failed at
	Durations  map[string]*Histogram // of attempts that were up, by scheme
	PassedOver uint64
	Unjudged   map[bool]uint64   // results without a verdict, by whether the last one was repeated
	Doubted    map[string]uint64 // confirmations, by what they brought: up or dead
}

// NewProbing returns an empty count.
func NewProbing() Probing {
	return Probing{
		Verdicts: make(Tally), Attempts: make(Tally), Durations: make(map[string]*Histogram),
		Unjudged: make(map[bool]uint64), Doubted: make(map[string]uint64),
	}
}

// Probed counts the attempts of a probe.
func (p *Probing) Probed(of probe.Scheme, r probe.Result) {
	scheme := string(of)
	downs := r.Attempts
	if r.Health == probe.Healthy || r.Health == probe.Sick {
		downs--
		p.Attempts[[2]string{scheme, "up"}]++
		h := p.Durations[scheme]
		if h == nil {
			h = NewHistogram(AttemptBounds())
			p.Durations[scheme] = h
		}
		h.Observe(r.Latency)
	}
	for i := range min(downs, len(r.Trace)) {
		p.Attempts[[2]string{scheme, reasonOf(r.Trace[i].Kind())}]++
	}
	if more := downs - len(r.Trace); more > 0 { // those that are not kept ended as the last one
		p.Attempts[[2]string{scheme, reasonOf(r.Kind())}] += uint64(more)
	}
}

// reasonOf returns the label of a failure.
func reasonOf(k probe.Kind) string {
	if k == "" {
		return "other"
	}
	return string(k)
}

// Verdict counts a verdict.
func (p *Probing) Verdict(of probe.Scheme, h probe.Health) {
	p.Verdicts[[2]string{string(of), string(h)}]++
}

// Clone returns a copy that does not change.
func (p *Probing) Clone() Probing {
	c := *p
	c.Verdicts, c.Attempts = maps.Clone(p.Verdicts), maps.Clone(p.Attempts)
	c.Unjudged, c.Doubted = maps.Clone(p.Unjudged), maps.Clone(p.Doubted)
	c.Durations = make(map[string]*Histogram, len(p.Durations))
	for scheme, h := range p.Durations {
		c.Durations[scheme] = h.clone()
	}
	return c
}
