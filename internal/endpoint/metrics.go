package endpoint

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

const namespace = "crisp_status_local_"

// textFormat is the content type of metrics, which every scraper reads.
const textFormat = "text/plain; version=0.0.4; charset=utf-8"

// mostScrapes is how many scrapes are answered at a time.
const mostScrapes = 4

// metricsHandler returns the handler of the daemon's own metrics: some 160
// series, however many replicas there are. They are in a registry of their own,
// made when it is asked for: the library's default one would cost memory in
// every daemon. Its own handler would link the binary formats, too.
func metricsHandler(source Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{source},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	places := make(chan struct{}, mostScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many scrapes at a time", http.StatusServiceUnavailable)
			return
		}
		families, err := registry.Gather()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", textFormat)
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(w, family); err != nil {
				return // the client has gone
			}
		}
	})
}

// collector makes metrics of the state when they are scraped.
type collector struct{ source Source }

// Describe is prometheus.Collector's. What it collects is known by its names.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect is prometheus.Collector's.
func (c collector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state, err := c.source.Totals(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(prometheus.NewDesc(namespace+"replicas", "The daemon hangs.", nil, nil), err)
		return
	}
	m := emitter{metrics}
	m.state(&state)
	m.cluster(state.Head.Cluster)
	m.requests(&state)
	m.probing(&state.Probing)
}

// emitter emits metrics.
type emitter struct{ metrics chan<- prometheus.Metric }

// labels are the names of a metric's labels, in the order of their values.
type labels []string

func (m emitter) emit(kind prometheus.ValueType, name, help string, value float64, names labels, values ...string) {
	desc := prometheus.NewDesc(namespace+name, help, names, nil)
	metric, err := prometheus.NewConstMetric(desc, kind, value, values...)
	if err != nil {
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	m.metrics <- metric
}

func (m emitter) gauge(name, help string, value float64) {
	m.emit(prometheus.GaugeValue, name, help, value, nil)
}

func (m emitter) counter(name, help string, value float64, names labels, values ...string) {
	m.emit(prometheus.CounterValue, name, help, value, names, values...)
}

func (m emitter) histogram(name, help string, h *status.Histogram, label, value string) {
	desc := prometheus.NewDesc(namespace+name, help, []string{label}, nil)
	buckets, sum := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		sum += h.Counts[i]
		buckets[bound] = sum
	}
	metric, err := prometheus.NewConstHistogram(desc, h.Count, h.Sum, buckets, value)
	if err != nil {
		metric = prometheus.NewInvalidMetric(desc, err)
	}
	m.metrics <- metric
}

// state emits how things are now.
func (m emitter) state(s *State) {
	h := &s.Head
	m.emit(prometheus.GaugeValue, "build_info", "Always 1; the labels say what runs.", 1, labels{"version", "goversion"}, h.Version, h.Go)
	for _, of := range []struct {
		health string
		count  int
	}{{"healthy", h.Counts.Healthy}, {"sick", h.Counts.Sick}, {"dead", h.Counts.Dead}, {"unknown", h.Counts.Unknown}} {
		m.emit(prometheus.GaugeValue, "replicas", "Replicas of the map in force, by the health of their last verdict; unknown is none yet.", float64(of.count), labels{"health"}, of.health)
	}
	m.gauge("map_entries_ignored", "Entries of the map in force that cannot be used.", float64(h.Counts.Ignored))
	m.gauge("map_last_success_timestamp_seconds", "When the Status API last confirmed or replaced the map.", unix(h.API.MapAt))
	m.gauge("report_gap_max_seconds", "Longest time between two taken reports of a replica that was up, over twice the promised time.", h.Promise.WorstGapSeconds)
	m.counter("reports_late_total", "Reports that were taken later than promised to the page.", float64(h.Promise.Late), nil)
	m.gauge("interval_seconds", "The time from probe to probe of a replica.", h.IntervalSeconds)
	m.gauge("promise_seconds", "The time within which the page is promised the next report of each replica.", h.Promise.PromisedSeconds)
	m.gauge("outbox_verdicts", "Verdicts that wait to be taken by the Status API.", float64(h.API.Waiting))
	m.gauge("probes_in_flight", "Probes under way.", float64(h.Promise.ProbesInFlight))
	m.gauge("probes_in_flight_limit", "How many probes may be under way.", float64(h.Promise.ProbesLimit))
	m.gauge("probes_in_flight_needed", "How many probes the map needs to keep the promise if all but one replica stop answering.", float64(h.Promise.ProbesNeeded))
	m.gauge("cycle_last_timestamp_seconds", "When the last cycle began.", unix(s.CycleBegan))
	m.gauge("config_last_reload_successful", "Whether the configuration was taken up when it was last read.", number(!s.Reloaded.Failed))
	m.gauge("config_last_reload_success_timestamp_seconds", "When the configuration was last taken up.", unix(s.Reloaded.At))
}

// cluster emits the metrics of the duty. c is nil without an engine: then there is only
// the scope, everything.
func (m emitter) cluster(c *status.Cluster) {
	reporting := status.ReportsEverything
	if c != nil {
		reporting = c.Scope
	}
	for _, scope := range []status.Scope{status.ReportsEverything, status.ReportsAlive, status.ReportsNothing} {
		m.emit(prometheus.GaugeValue, "reporting", "How much this daemon reports, 1 for that: everything is on duty, alive is only healthy and sick, nothing is a standby.", number(scope == reporting), labels{"scope"}, string(scope))
	}
	if c == nil {
		return
	}
	m.emit(prometheus.GaugeValue, "cluster_info", "Always 1; the labels say in which group this daemon watches, as which member, and what decides who is on duty.", 1, labels{"engine", "group", "member"}, c.Engine, c.Group, c.Member)
	m.counter("takeovers_total", "How often this daemon has taken over the duty.", float64(c.Takeovers), nil)
	m.gauge("members", "Daemons of the group that are known; 0 where the engine knows none.", float64(len(c.Members)))
	m.gauge("engine_reachable", "Whether the engine says who is on duty: 0 while it cannot be asked, and while it answers, but this daemon cannot take part or nobody is on duty.", number(!c.HasTrouble()))
	if c.Engine == "address" && c.Unchecked == "" {
		m.gauge("address_conflict", "Whether another host has the address that decides who is on duty, too; absent where that cannot be checked.", number(c.Conflict))
	}
}

// number returns 1 for true.
func number(so bool) float64 {
	if so {
		return 1
	}
	return 0
}

// requests emits what came of requests to the Status API.
func (m emitter) requests(s *State) {
	for _, of := range []struct {
		request  string
		requests status.Requests
		outcomes []string
	}{
		{"map", s.Maps, []string{"changed", "unchanged", "unauthorized", "refused", "error"}},
		{"report", s.Reports, []string{"taken", "unauthorized", "refused", "error"}},
	} {
		for _, outcome := range of.outcomes {
			m.counter("api_requests_total", "Requests to the Status API, by what came of them.", float64(of.requests.Outcomes[outcome]), labels{"request", "outcome"}, of.request, outcome)
		}
		if of.requests.Duration != nil {
			m.histogram("api_request_duration_seconds", "How long requests to the Status API took.", of.requests.Duration, "request", of.request)
		}
	}
}

// reasons are what an attempt can end with.
func reasons() []string {
	return []string{"up", "dns", "refused", "timeout", "unreachable", "broken", "tls", "http", "status", "body", "policy", "local"}
}

// probing emits what came of probes.
func (m emitter) probing(p *status.Probing) {
	for _, s := range probe.Schemes() {
		scheme := string(s)
		for _, health := range []string{"healthy", "sick", "dead"} {
			m.counter("verdicts_total", "Verdicts, by scheme and health.", float64(p.Verdicts[[2]string{scheme, health}]), labels{"scheme", "health"}, scheme, health)
		}
		for _, reason := range reasons() {
			m.counter("attempts_total", "Attempts, by scheme and what they ended with; reason is up or the kind of failure.", float64(p.Attempts[[2]string{scheme, reason}]), labels{"scheme", "reason"}, scheme, reason)
		}
		if h := p.Durations[scheme]; h != nil {
			m.histogram("attempt_duration_seconds", "How long attempts that were up took.", h, "scheme", scheme)
		}
	}
	m.counter("cycle_passed_over_total", "Turns passed over since the replica's last probe was still under way.", float64(p.PassedOver), nil)
	for _, repeated := range []bool{true, false} {
		m.counter("unjudged_total", "Results without a verdict: this host's own trouble.", float64(p.Unjudged[repeated]), labels{"repeated"}, strconv.FormatBool(repeated))
	}
	for _, outcome := range []string{"up", "dead"} {
		m.counter("doubted_total", "Replicas tried once more since many turned dead at once, by what that brought.", float64(p.Doubted[outcome]), labels{"outcome"}, outcome)
	}
}

// unix returns t in seconds since 1970; 0 for none.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
