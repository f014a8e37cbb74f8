package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWhereTheEndpointListens(t *testing.T) {
	for _, where := range []string{"127.0.0.1:8112", ":8112", "[::1]:1", "localhost:65535", "[fe80::1%eth0]:80", "/run/crisp-status-local/http"} {
		c, err := parse("config.cfg", []byte("[server]\ninet = '"+where+"'\nhosts = ['Status.Example']\nreplica_metrics = true\n[report]\n"+token), noVariables)
		if err != nil || c.Inet != where || !slices.Equal(c.Hosts, []string{"status.example"}) || !c.ReplicaMetrics {
			t.Errorf("inet %q: got %q, %q, %v, %v, want it taken", where, c.Inet, c.Hosts, c.ReplicaMetrics, err)
		}
	}
	if c, err := parse("config.cfg", []byte("[report]\n"+token), noVariables); err != nil || c.Inet != "" || c.ReplicaMetrics {
		t.Errorf("got %q, %v, %v of a file without it, want it off", c.Inet, c.ReplicaMetrics, err)
	}
}

func TestWhereTheEndpointCannotListen(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"inet = ''", "is empty"},
		{"inet = 8112", "an integer, want a string"},
		{"inet = '127.0.0.1'", "has no port"},
		{"inet = '127.0.0.1:0'", "has no usable port"},
		{"inet = '127.0.0.1:http'", "has no usable port"},
		{"inet = 'http://127.0.0.1:8112'", "is a URL"},
		{"inet = 'status.example:80'", "has a name for an address"},
		{"inet = 'run/socket'", "has no port"},
		{"inet = '/run/'", "is no path of a file"},
		{"inet = '/" + strings.Repeat("a", 200) + "'", "is longer than"},
		{"hosts = 'status.example'", "a string, want an array of at most"},
		{"hosts = [1]", "an integer in the array"},
		{"hosts = ['http://status.example']", "is no host name"},
		{"replica_metrics = 'true'", "a string, want true or false without quotes"},
		{"replica_metrics = 1", "an integer, want true or false"},
	} {
		_, err := parse("config.cfg", []byte("[server]\n"+tt.line+"\n[report]\n"+token), noVariables)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "server.") {
			t.Errorf("%s: got %v, want that it %s", tt.line, err, tt.want)
		}
	}
}

func TestMetricsOfReplicasByAVariable(t *testing.T) {
	lookup := func(string) (string, bool) { return "true", true }
	c, err := parse("config.cfg", []byte("[server]\nreplica_metrics = ${ON}\n[report]\n"+token), lookup)
	if err != nil || !c.ReplicaMetrics {
		t.Errorf("got %v, %v, want it on", c.ReplicaMetrics, err)
	}
}
