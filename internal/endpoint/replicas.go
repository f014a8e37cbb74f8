package endpoint

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// family is a metric of each replica, under the name that blackbox_exporter has
// for it, so that its dashboards fit.
type family struct {
	name, help string
	sample     func(*status.Record) (label string, value float64, ok bool)
}

// families returns the metrics of a replica, in the order of the page.
func families() []family {
	return []family{
		{"probe_success", "Whether the last verdict of the replica is that it is up.", func(r *status.Record) (string, float64, bool) {
			h := r.History.Health()
			if h == probe.Dead {
				return "", 0, true
			}
			return "", 1, h != probe.Unknown
		}},
		{"probe_duration_seconds", "How long the attempt took that decided the last verdict.", func(r *status.Record) (string, float64, bool) {
			return "", r.History.Latency().Seconds(), r.History.Health() != probe.Unknown
		}},
		{"probe_failure_info", "Always 1, while the replica is dead; reason is the kind of its failure.", func(r *status.Record) (string, float64, bool) {
			return `,reason="` + string(r.History.Kind()) + `"`, 1, r.History.Health() == probe.Dead
		}},
		{"probe_health_changed_timestamp_seconds", "When the health of the replica became what it is.", func(r *status.Record) (string, float64, bool) {
			return "", unix(r.History.Since()), r.History.Health() != probe.Unknown
		}},
		{"probe_ssl_earliest_cert_expiry", "When the first certificate of the replica's chain expires.", func(r *status.Record) (string, float64, bool) {
			expiry := r.History.Expiry()
			return "", unix(expiry), !expiry.IsZero()
		}},
	}
}

// replicaMetrics writes the metrics of each replica in the text format, by hand:
// in a registry they would take a hundred times the memory.
func (h handler) replicaMetrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	state, err := h.source.Replicas(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", textFormat)
	if r.Method == http.MethodHead {
		return
	}
	out := bufio.NewWriterSize(w, pieceSize)
	defer out.Flush()
	named := labelsOf(state.Records)
	var b []byte
	for _, f := range families() {
		out.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " gauge\n")
		for i := range state.Records {
			label, value, ok := f.sample(&state.Records[i])
			if !ok {
				continue
			}
			b = append(append(b[:0], f.name...), named.of(i)...)
			b = append(append(b, label...), "} "...)
			b = append(appendValue(b, value), '\n')
			if _, err := out.Write(b); err != nil {
				return // nobody reads on
			}
		}
	}
}

// appendValue appends a value, whole numbers such as times without an exponent.
func appendValue(b []byte, value float64) []byte {
	if whole := int64(value); float64(whole) == value {
		return strconv.AppendInt(b, whole, 10)
	}
	return strconv.AppendFloat(b, value, 'g', -1, 64)
}

// replicaLabels are the labels of all replicas as text, one after the other: a replica
// has them in up to five metrics, and formatting them is the largest cost of a scrape.
type replicaLabels struct {
	text []byte
	ends []int
}

// labelsOf returns the labels of records.
func labelsOf(records []status.Record) replicaLabels {
	const usual = 160 // bytes of a replica
	l := replicaLabels{make([]byte, 0, usual*len(records)), make([]int, len(records))}
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	for i := range records {
		c := records[i].Check
		l.text = append(append(l.text, `{service="`...), escape.Replace(c.ServiceID)...)
		l.text = append(append(l.text, `",node="`...), escape.Replace(c.NodeID)...)
		l.text = append(append(l.text, `",replica="`...), escape.Replace(c.Target.String())...)
		l.text = append(l.text, '"')
		l.ends[i] = len(l.text)
	}
	return l
}

// of returns the labels of the i-th replica, without the bracket that closes them.
func (l *replicaLabels) of(i int) []byte {
	if i == 0 {
		return l.text[:l.ends[0]]
	}
	return l.text[l.ends[i-1]:l.ends[i]]
}
