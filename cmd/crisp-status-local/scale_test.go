package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// scaleVariable is the variable of the environment that asks for the whole table of
// README, which takes minutes and 3 GB.
const scaleVariable = "CRISP_SCALE"

// scaleRows returns a few small rows, or the whole table.
func scaleRows() []scale {
	const ms = time.Millisecond
	if os.Getenv(scaleVariable) == "" {
		return []scale{
			{replicas: 4_000, daemons: 1, rtt: 200 * ms},
			{replicas: 4_000, daemons: 1, rtt: 200 * ms, http1: 24},
			{replicas: 4_000, daemons: 1, rtt: 50 * ms, promise: 600 * time.Second},
			{replicas: 1_000, daemons: 4, rtt: 50 * ms},
			{replicas: 1_000, daemons: 4, rtt: 50 * ms, lost: 10 * time.Second},
			{replicas: 1_000, daemons: 4, rtt: 50 * ms, promise: 600 * time.Second, lost: 10 * time.Second},
		}
	}
	var rows []scale
	for _, n := range []int{10_000, 100_000, 300_000, 1_000_000} {
		for _, rtt := range []time.Duration{2, 50, 100, 200} {
			rows = append(rows, scale{replicas: n, daemons: 1, rtt: rtt * ms})
		}
	}
	return append(rows,
		scale{replicas: 100_000, daemons: 1, rtt: 200 * ms, http1: 512},
		scale{replicas: 100_000, daemons: 1, rtt: 50 * ms, promise: 600 * time.Second},
		scale{replicas: 100_000, daemons: 4, rtt: 50 * ms},
		scale{replicas: 100_000, daemons: 4, rtt: 50 * ms, lost: 10 * time.Second},
		scale{replicas: 100_000, daemons: 4, rtt: 50 * ms, promise: 600 * time.Second, lost: 10 * time.Second},
		scale{replicas: 1_000_000, daemons: 4, rtt: 50 * ms, ownMaps: true},
	)
}

// name returns the name of a row, by which -run finds it.
func (row scale) name() string {
	var name strings.Builder
	name.WriteString(fmt.Sprintf("%d_by_%d_at_%v", row.replicas, row.daemons, row.rtt))
	for _, part := range []struct {
		is   bool
		name string
	}{{row.http1 > 0, "_http1"}, {row.promise > 0, "_promise"}, {row.lost > 0, "_lost"}, {row.ownMaps, "_maps"}} {
		if part.is {
			name.WriteString(part.name)
		}
	}
	return name.String()
}

// TestScale: the promise is kept at any size that README states, however far the API is,
// with no more requests in flight than that takes; and the loss of a daemon turns
// nothing red where others are soon allowed its part.
func TestScale(t *testing.T) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "replicas\tdaemons\tround trip\tpromise\t\tworst gap\tlate\tred\tin flight\treports/s, mean\tmost\twaiting\tround\theap/replica\tCPU\tmap\t")
	var m *scaleMap
	size, first := 0, 0.0
	for _, row := range scaleRows() {
		t.Run(row.name(), func(t *testing.T) {
			if size != row.replicas {
				m = nil // one at a time
				m, size = fetchScaleMap(t, row.replicas), row.replicas
			}
			f := row.run(t, m)
			if first == 0 {
				first = f.cpu
			}
			fmt.Fprintf(table, "%d\t%d\t%v\t%v\t%s\t%.1f s\t%d\t%d\t%d\t%.0f\t%d\t%d\t%.0f s\t%.0f B\t%.2f\t%.1f MiB\t\n",
				row.replicas, row.daemons, row.rtt, max(row.promise, scaleInterval), row.circumstances(), f.worst.Seconds(), f.late, f.red,
				f.inFlight, f.mean, f.most, f.waiting, f.round.Seconds(), f.heap, f.cpu/first, float64(f.mapBytes)/(1<<20))
			row.want(t, f)
		})
	}
	if os.Getenv(scaleVariable) != "" {
		table.Flush()
	}
}

func (row scale) circumstances() string {
	switch {
	case row.http1 > 0:
		return "HTTP/1.1"
	case row.lost > 0:
		return fmt.Sprintf("one is lost, and replaced %v later", row.lost)
	case row.ownMaps:
		return "a map for each"
	}
	return ""
}

// want checks what must be so of any row.
func (row scale) want(t *testing.T, f found) {
	t.Helper()
	if f.red > 0 {
		t.Errorf("got %d replicas shown dead, want none", f.red)
	}
	if f.late > 0 && row.lost == 0 {
		t.Errorf("got %d late reports, want none", f.late)
	}
	share := float64(row.replicas) / float64(row.daemons)
	if !row.ownMaps {
		share = float64(row.replicas) // a daemon does not know how many of its map are denied
	}
	most := int(1.3*share*row.rtt.Seconds()/30) + 32
	if row.http1 > 0 {
		most = min(most, row.http1)
	}
	if f.inFlight > most && row.lost == 0 {
		t.Errorf("got %d requests in flight, want %d at most: what the verdicts of the spread take, and a group", f.inFlight, most)
	}
	if per := float64(row.replicas) / scaleInterval.Seconds(); f.mean > 1.6*per || row.promise > 0 && f.mean > 0.6*per {
		t.Errorf("got %.0f reports a second, want fewer beside %.0f replicas a second", f.mean, per)
	}
}
