package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

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

func wireRules(r Rules) *wireHTTP {
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

// errReportForm is returned alone: the report parsed, but its bytes differ from
// the protocol's form.
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

// encode returns the JSON of v as the protocol wants it: with & unescaped, and a
// final line feed.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil // out of reach: every wire type can be encoded
	}
	return b.Bytes()
}
