//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	daemonTimeout   = 500 * time.Millisecond // the page is fetched every second
	longestSocket   = 100                    // bytes of a path that the kernel takes
	daemonStateSize = 8 << 20                // bytes of an answer, of mostRows replicas
)

// daemon is the endpoint of the daemon beside the sandbox, a unix socket. The zero
// value is none.
type daemon struct{ socket string }

// told is what the daemon says about itself, as far as the page shows it. The names
// are those of its replicas.json.
type told struct {
	Now time.Time `json:"now"`
	API struct {
		State   string    `json:"state"`
		Since   time.Time `json:"since"`
		Error   string    `json:"error"`
		Waiting int       `json:"waiting"`
	} `json:"api"`
	Cluster  *toldCluster  `json:"cluster"` // nil: it is by itself
	Replicas []toldReplica `json:"replicas"`
}

// toldCluster is what a daemon says about its duty.
type toldCluster struct {
	Scope   string    `json:"scope"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why"`
	Trouble string    `json:"trouble"`
}

// toldReplica is what the daemon says about a replica.
type toldReplica struct {
	Service string        `json:"service"`
	Node    string        `json:"node"`
	Replica string        `json:"replica"`
	Health  string        `json:"health"`
	Reason  string        `json:"reason"`
	History []toldVerdict `json:"history"` // newest first
}

// toldVerdict is a verdict of the daemon.
type toldVerdict struct {
	At      time.Time `json:"at"`
	Health  string    `json:"health"`
	Latency float64   `json:"latency_seconds"`
}

// ask returns what the daemon says now, or nil where there is none, or where it does
// not answer: the page judges it by its reports, and these are only its words.
func (d daemon) ask(ctx context.Context) *told {
	if d.socket == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, daemonTimeout)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/replicas.json", nil)
	if err != nil {
		return nil
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil
	}
	var t told
	if err := json.NewDecoder(http.MaxBytesReader(nil, answer.Body, daemonStateSize)).Decode(&t); err != nil {
		return nil
	}
	return &t
}

// Duty says what a daemon may report, and why; nothing where it says nothing.
func (t *told) Duty() string {
	if t == nil || t.Cluster == nil {
		return ""
	}
	c := t.Cluster
	text := map[string]string{"everything": "on duty", "alive": "reports only healthy and sick", "nothing": "standby"}[c.Scope]
	if !c.Since.IsZero() {
		text += " for " + seconds(t.Now.Sub(c.Since).Round(time.Second).Seconds())
	}
	if c.Why != "" {
		text += ": " + c.Why
	}
	return text
}

// api returns what the daemon says about the Status API while that does not take its
// reports, else nothing.
func (t *told) api() string {
	if t == nil || t.API.State == "answers" || t.API.State == "unknown" || t.API.State == "" {
		return ""
	}
	text := "the Status API is down"
	if t.API.State == "unauthorized" {
		text = "the Status API does not accept the token"
	}
	if !t.API.Since.IsZero() {
		text += " since " + t.API.Since.Local().Format("15:04:05")
	}
	if t.API.Error != "" {
		text += ": " + t.API.Error
	}
	return text + fmt.Sprintf("; %s", plural(t.API.Waiting, "verdict waits", "verdicts wait"))
}

// bar is a verdict in the strip of a replica. Its height tells the health without a
// colour.
type bar struct {
	Health string
	X, Y   int
	Height int
	Title  string
}

// The strip of a replica: as many verdicts as the daemon keeps.
const (
	stripBars   = 10
	stripHeight = 16
	stripStep   = 7
)

// Strip returns the bars of the last verdicts, the newest to the right.
func (r toldReplica) Strip() []bar {
	heights := map[string]int{"healthy": 6, "sick": 11, "dead": stripHeight}
	var bars []bar
	newest := r.History[:min(len(r.History), stripBars)]
	for i, v := range newest {
		height, known := heights[v.Health]
		if !known {
			continue
		}
		title := v.At.Local().Format("15:04:05") + " " + v.Health
		if v.Latency > 0 {
			title += fmt.Sprintf(", %.1f ms", v.Latency*1000)
		}
		bars = append(bars, bar{v.Health, (len(newest) - 1 - i) * stripStep, stripHeight - height, height, title})
	}
	return bars
}
