package sandbox

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestGeneratedMap(t *testing.T) {
	s, err := New(Options{Generate: &Generated{
		Replicas: 2500,
		Kinds:    []string{"tcp", "http", "https", "icmp"},
		Dead:     0.5,
		Slow:     0.05,
		Metrics:  Metrics{DelayDead: new(10), DelaySick: new(1)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	counts := make(map[Health]int)
	schemes := make(map[string]int)
	seen := make(map[string]bool)
	state := s.State()
	for _, service := range state.Services {
		for _, node := range service.Nodes {
			if len(node.Replicas) > 100 {
				t.Errorf("%s has %d replicas, want at most 100", node.Name, len(node.Replicas))
			}
			dead := 0
			for _, r := range node.Replicas {
				scheme, _, _ := strings.Cut(r.Replica, ":")
				schemes[scheme]++
				counts[r.Expected]++
				if seen[r.Replica] {
					t.Errorf("%s appears twice", r.Replica)
				}
				seen[r.Replica] = true
				if r.Expected == Dead {
					dead++
				}
				if r.Expected == Dead && scheme == "icmp" || r.Expected == Sick && !strings.HasPrefix(scheme, "http") {
					t.Errorf("%s is to be %s, which it cannot be", r.Replica, r.Expected)
				}
			}
			if len(node.Replicas) == 100 && (dead < 45 || dead > 55) {
				t.Errorf("%s has %d dead replicas of 100, want them evenly spread", node.Name, dead)
			}
		}
	}
	if len(state.Services) != 3 || len(seen) != 2500 {
		t.Errorf("there are %d replicas in %d services, want 2500 in 3", len(seen), len(state.Services))
	}
	if counts[Dead] != 1250 || counts[Sick] != 125 || counts[Healthy] != 1125 {
		t.Errorf("the expectations are %v, want 1250 dead, 125 sick, 1125 healthy", counts)
	}
	for _, scheme := range []string{"tcp", "http", "https", "icmp"} {
		if schemes[scheme] != 625 {
			t.Errorf("%d replicas are %s, want 625", schemes[scheme], scheme)
		}
	}
}

func TestGeneratedTargetsAreWhatTheMapSays(t *testing.T) {
	s, err := New(Options{Generate: &Generated{
		Replicas: 20,
		Kinds:    []string{"tcp", "http", "https"},
		Dead:     0.25,
		Slow:     0.1,
		Metrics:  Metrics{DelayDead: new(3), DelaySick: new(1)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	transport := trusting(t, s.CA())
	transport.DisableKeepAlives = true
	for _, r := range s.State().Services[0].Nodes[0].Replicas {
		up, timeout := false, 500*time.Millisecond // slow ones take 2 s
		if r.Expected == Healthy {
			timeout = time.Minute
		}
		client := &http.Client{Transport: transport, Timeout: timeout}
		if address, ok := strings.CutPrefix(r.Replica, "tcp://"); ok {
			conn, err := net.DialTimeout("tcp", address, timeout)
			if up = err == nil; up {
				conn.Close()
			}
		} else {
			res, err := client.Get(r.Replica)
			if up = err == nil; up {
				res.Body.Close()
			}
		}
		if up != (r.Expected == Healthy) {
			t.Errorf("%s answers at once: %v, but is to be judged %s", r.Replica, up, r.Expected)
		}
	}
}

func TestImpossibleGeneratedMaps(t *testing.T) {
	limits := Metrics{DelayDead: new(10), DelaySick: new(1)}
	for _, tt := range []struct {
		name      string
		generated Generated
		want      string
	}{
		{"none", Generated{Kinds: []string{"tcp"}}, "0 replicas, want 1 to"},
		{"kind", Generated{Replicas: 1, Kinds: []string{"udp"}}, `kind "udp"`},
		{"no kind", Generated{Replicas: 1}, "no kinds"},
		{"too many", Generated{Replicas: 9, Kinds: []string{"tcp"}, Dead: 0.9, Slow: 0.2, Metrics: limits}, "more than all of them"},
		{"icmp cannot be dead", Generated{Replicas: 9, Kinds: []string{"icmp"}, Dead: 1}, "9 replicas cannot be dead"},
		{"tcp cannot be slow", Generated{Replicas: 9, Kinds: []string{"tcp"}, Slow: 1, Metrics: limits}, "9 replicas cannot be slow"},
		{"never sick", Generated{Replicas: 9, Kinds: []string{"http"}, Slow: 1}, "need a delay_sick above 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(Options{Generate: &tt.generated}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want an error with %q", err, tt.want)
			}
		})
	}
}
