package status

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends r as encoding/json writes it, without what that costs: the
// state of 10,000 replicas is asked every few seconds.
func (r *Replica) AppendJSON(b []byte) []byte {
	b = text(append(b, `{"service":`...), r.Service)
	b = text(append(b, `,"node":`...), r.Node)
	b = text(append(b, `,"replica":`...), r.Replica)
	b = text(append(b, `,"scheme":`...), r.Scheme)
	b = text(append(b, `,"health":`...), r.Health)
	b = instant(b, `,"since":`, r.Since)
	b = words(b, `,"reason":`, r.Reason)
	b = words(b, `,"kind":`, r.Kind)
	b = number(b, `,"latency_seconds":`, r.LatencySeconds)
	b = count(b, `,"attempts":`, r.Attempts)
	b = instant(b, `,"probed_at":`, r.ProbedAt)
	b = strconv.AppendBool(append(b, `,"withheld":`...), r.Withheld)
	if r.Reported != nil {
		b = text(append(b, `,"reported":{"health":`...), r.Reported.Health)
		b = instant(b, `,"at":`, r.Reported.At)
		b = append(instant(b, `,"due":`, r.Reported.Due), '}')
	}
	b = append(b, `,"history":[`...)
	for i := range r.History {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.History[i].appendJSON(b)
	}
	b = append(b, ']')
	if r.LastFailure != nil { // few have one
		if failure, err := json.Marshal(r.LastFailure); err == nil {
			b = append(append(b, `,"last_failure":`...), failure...)
		}
	}
	return append(b, '}')
}

func (v *Verdict) appendJSON(b []byte) []byte {
	b = append(v.At.AppendFormat(append(b, `{"at":"`...), time.RFC3339Nano), '"')
	b = text(append(b, `,"health":`...), v.Health)
	b = number(b, `,"latency_seconds":`, v.LatencySeconds)
	return append(count(b, `,"attempts":`, v.Attempts), '}')
}

// text appends s as a JSON string.
func text(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f {
			quoted, _ := json.Marshal(s)
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// words appends a member whose value is s, if it has one.
func words(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return text(append(b, name...), s)
}

func instant(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(append(b, name...), '"')
	return append(t.AppendFormat(b, time.RFC3339Nano), '"')
}

func number(b []byte, name string, n float64) []byte {
	if n == 0 || math.IsNaN(n) || math.IsInf(n, 0) {
		return b
	}
	b = append(b, name...)
	if n < 1e-6 || n >= 1e21 {
		quoted, _ := json.Marshal(n)
		return append(b, quoted...)
	}
	return strconv.AppendFloat(b, n, 'f', -1, 64)
}

func count(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}
