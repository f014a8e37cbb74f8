package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Health is what a report says of a replica, in the spelling of the Status API.
type Health string

// The three healths that a report may carry.
const (
	Healthy Health = "healthy"
	Sick    Health = "sick"
	Dead    Health = "dead"
)

// Map is what the stand-in Status API hands out, and what a map file holds.
type Map struct {
	Metrics  Metrics   `toml:"metrics"`
	Services []Service `toml:"service"`
}

// Metrics are the limits that the map asks for. They are handed out as they
// are, in range or not; nil fields are handed out as null.
type Metrics struct {
	Retry     *int `toml:"retry" json:"retry"`
	DelayDead *int `toml:"delay_dead" json:"delay_dead"` // seconds
	DelaySick *int `toml:"delay_sick" json:"delay_sick"` // seconds
}

// Service is a group of nodes. Without an ID its Name is its id, and the other
// way round; the API knows ids only, names are for people.
type Service struct {
	ID    string `toml:"id"`
	Name  string `toml:"name"`
	Nodes []Node `toml:"node"`
}

// Node is a group of replicas that share HTTP rules. ID and Name are as in Service.
type Node struct {
	ID       string   `toml:"id"`
	Name     string   `toml:"name"`
	Replicas []string `toml:"replicas"` // URLs as they are, or own targets as ParseSpec reads them
	HTTP     Rules    `toml:"http"`
}

// Rules say which HTTP answers are up. A nil field is handed out as null: the
// daemon's default holds.
type Rules struct {
	HealthyAbove *int    `toml:"healthy_above"` // the lowest status that is up
	HealthyBelow *int    `toml:"healthy_below"` // the lowest status above those that are up
	HealthyMatch *string `toml:"healthy_match"`
	DeadMatch    *string `toml:"dead_match"`
}

// limits are Metrics as the daemon must understand them: defaults filled in,
// numbers clamped.
type limits struct {
	retry     int
	deadAfter time.Duration
	sickAfter time.Duration // 0: never sick
}

func (m Metrics) limits() limits {
	l := limits{retry: 2, deadAfter: 20 * time.Second}
	if m.Retry != nil {
		l.retry = max(*m.Retry, 0)
	}
	if m.DelayDead != nil {
		l.deadAfter = time.Duration(min(max(*m.DelayDead, 1), 35)) * time.Second
	}
	if m.DelaySick != nil {
		l.sickAfter = time.Duration(min(max(*m.DelaySick, 0), 3600)) * time.Second
	}
	return l
}

// worst is the longest that judging one replica may take: every attempt times
// out, and 35 s is where the protocol cuts.
func (l limits) worst() time.Duration {
	attempts := time.Duration(min(l.retry, 100) + 1)
	return min(attempts*l.deadAfter+(attempts-1)*200*time.Millisecond, 35*time.Second)
}

// The answer to a map request. Fields without a value are null, never missing,
// as the hosted API has it.
type (
	wireMap struct {
		Data wireData `json:"data"`
	}
	wireData struct {
		Date     int64         `json:"date"`
		Metrics  wireMetrics   `json:"metrics"`
		Services []wireService `json:"services"`
	}
	wireMetrics struct {
		Local Metrics `json:"local"`
	}
	wireService struct {
		ID    string     `json:"id"`
		Nodes []wireNode `json:"nodes"`
	}
	wireNode struct {
		ID       string    `json:"id"`
		Replicas []string  `json:"replicas"`
		HTTP     *wireHTTP `json:"http"`
	}
	wireHTTP struct {
		Status wireStatus `json:"status"`
		Body   wireMatch  `json:"body"`
	}
	wireStatus struct {
		HealthyAbove *int `json:"healthy_above"`
		HealthyBelow *int `json:"healthy_below"`
	}
	wireMatch struct {
		HealthyMatch *string `json:"healthy_match"`
		DeadMatch    *string `json:"dead_match"`
	}
)

func (r Rules) wire() *wireHTTP {
	if r == (Rules{}) {
		return nil
	}
	return &wireHTTP{wireStatus{r.HealthyAbove, r.HealthyBelow}, wireMatch{r.HealthyMatch, r.DeadMatch}}
}

// wireReport is the body of a report. The order of its fields is the protocol's.
type wireReport struct {
	Replica  string `json:"replica_id"`
	Health   Health `json:"health"`
	Interval int    `json:"interval"` // seconds
}

// errReportForm is joined to nothing: the report was understood, but it is not
// byte for byte what the protocol shows.
var errReportForm = errors.New("report is not in the protocol's form")

// parseReport reads the body of a report. With errReportForm the report is
// usable all the same; with any other error it is not.
func parseReport(body []byte) (wireReport, error) {
	var r wireReport
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&r); err != nil {
		return wireReport{}, fmt.Errorf("decoding report: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return wireReport{}, errors.New("decoding report: more than one JSON value")
	}
	switch {
	case r.Replica == "":
		return wireReport{}, errors.New("replica_id is missing")
	case r.Health != Healthy && r.Health != Sick && r.Health != Dead:
		return wireReport{}, fmt.Errorf("health is %q, want healthy, sick or dead", r.Health)
	case r.Interval <= 0:
		return wireReport{}, fmt.Errorf("interval is %d, want a positive number of seconds", r.Interval)
	}
	if !bytes.Equal(bytes.TrimSuffix(body, []byte("\n")), bytes.TrimSuffix(encode(r), []byte("\n"))) {
		return r, errReportForm
	}
	return r, nil
}

// encode is JSON as the protocol wants it, with & as it is, and a final line feed.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil // out of reach: the wire types hold nothing that JSON cannot
	}
	return b.Bytes()
}
