// Package config reads the configuration file and turns it into a [Config]
// that cannot be invalid, so that no other package checks it again.
//
// The file is TOML. Every key has a default but the token:
//
//	[server] log_level    debug, info, warn or error; warn
//	[server] log_format   text or json; text
//	[server] inet         where metrics, health and page are served; nowhere
//	[server] hosts        names by which they may be asked for, beside this host's
//	[server] replica_metrics  metrics of each replica, too; false
//	[report] endpoint     URL of the Status API; https://report.crisp.watch/v1
//	[report] token        the credential of the daemon
//	[report] token_file   a file with the token instead
//	[report] promise      seconds within which the page is promised the next report, interval to 3600; interval
//	[probe]  interval     seconds from cycle to cycle, 1 to 3600; 120
//	[probe]  workers      cap on the probes in flight, 1 to 100000; derived
//	[probe]  ca_file      PEM certificates trusted beside the system's
//	[probe]  allow        what may be probed: CIDRs, addresses, host names; all
//	[probe]  deny         what may not; none
//	[probe]  report_denied  whether replicas that may not be are dead; false
//	[cluster] engine      which of several daemons reports: none, alive, address, etcd; none
//	[cluster] group       name of the daemons that share a page; default
//	[cluster] member      name of this daemon; the host's
//	[cluster] address     with address: the one that moves between the hosts
//	[cluster] endpoints   with etcd, as all below: its client URLs
//	[cluster] ca_file     PEM certificates trusted beside the system's
//	[cluster] cert_file   PEM certificate of this client; none
//	[cluster] key_file    and its key
//	[cluster] user        of etcd; none
//	[cluster] password_file  a file with the password
//	[cluster] ttl         seconds until another daemon takes over, 5 to 60; 10
//
// A relative path starts at the folder of the configuration file. ${NAME} in a
// quoted value, or bare as the whole value of a key, is the environment variable
// of that name, whatever characters it contains; if the value of a bare one is a
// quoted TOML string, it is that string. $NAME without braces is left alone.
//
// All complaints are returned together, so that an operator fixes a file once. None
// shows the token, the value of a variable, or a password in a URL.
package config

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"
	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/policy"
)

const (
	defaultEndpoint = "https://report.crisp.watch/v1"
	defaultInterval = 120 // seconds, as the original

	minInterval = 1    // seconds
	maxInterval = 3600 // seconds
	maxPromise  = 3600 // seconds: a host that died is known as much later

	// The reporting bound holds for a hundred thousand replicas on one machine;
	// a cap above one worker for each of them caps nothing.
	maxWorkers = 100_000

	maxFileSize = 1 << 20 // bytes, a hundred times the sample and more
)

// Config is a valid configuration.
type Config struct {
	Path     string         // the file it was read from
	Level    logrus.Level   // debug, info, warn or error
	Format   LogFormat      // of the log
	Inet     string         // address:port or absolute path where the endpoint listens; empty: it does not
	Hosts    []string       // further names by which it may be asked for, in lower case
	Endpoint string         // http or https URL, without a trailing slash
	Token    Secret         // never empty
	Interval time.Duration  // 1 s to 1 h, whole seconds
	Promise  time.Duration  // Interval to 1 h, whole seconds
	Workers  int            // cap on the probes in flight; 0 means derived
	RootCAs  *x509.CertPool // the system's roots and those of ca_file; nil means the system's
	Warnings []string       // one sentence for each unknown key, in the order of the file, for each exposure of a secret, and for each key of a cluster without effect

	ReplicaMetrics bool // the endpoint has metrics of each replica, too

	Policy       *policy.Policy // which addresses may be probed
	ReportDenied bool           // replicas that it denies are reported dead

	Cluster Cluster
}

// LogFormat is the form of the lines of the log.
type LogFormat string

// The formats of the log.
const (
	Text LogFormat = "text"
	JSON LogFormat = "json"
)

// Complaints are the mistakes in a file, one self-contained line each: the file, the
// line of a syntax error or else the key, the value found, and the values allowed.
type Complaints []string

// Error returns the complaints, each on a line of its own.
func (c Complaints) Error() string { return strings.Join(c, "\n") }

// SampleToken is the error of a file whose only mistake is the token of the sample:
// it is not configured yet.
type SampleToken struct {
	Key        string // report.token or report.token_file
	Complaints        // the one about it
}

// Unwrap returns the complaint.
func (s SampleToken) Unwrap() error { return s.Complaints }

// Load reads the file at path. Variables are looked up with lookupEnv, which
// has the contract of [os.LookupEnv].
//
// The error, when there is one, is of type [Complaints], or a [SampleToken] that
// wraps them. The Config then has Path and Warnings only: a misspelt key is often the
// cause of a missing one.
func Load(path string, lookupEnv func(string) (string, bool)) (Config, error) {
	data, err := readFile(path, maxFileSize)
	if err != nil {
		return Config{Path: path}, Complaints{oneLine(fmt.Sprintf("%s: %v", path, configFileError(err)))}
	}
	return parse(path, data, lookupEnv)
}

// parse turns the content of the file at path into a Config, as Load does.
func parse(path string, data []byte, lookupEnv func(string) (string, bool)) (Config, error) {
	tree, keys, err := decodeTOML(data)
	if err != nil {
		return Config{Path: path}, Complaints{oneLine(fmt.Sprintf("%s: %v", path, err))}
	}
	d := &document{path: path, tree: tree, lookupEnv: lookupEnv}
	d.checkTables()
	c := Config{
		Path:     path,
		Level:    d.level("server.log_level"),
		Format:   d.logFormat("server.log_format"),
		Inet:     d.inet("server.inet"),
		Hosts:    d.names("server.hosts"),
		Endpoint: d.endpoint("report.endpoint"),
		Token:    d.token("report.token", "report.token_file"),
		Interval: time.Duration(d.number("probe.interval", bounds{minInterval, maxInterval, " seconds"}, defaultInterval)) * time.Second,
		Workers:  d.number("probe.workers", bounds{1, maxWorkers, ""}, 0),
		RootCAs:  d.rootCAs("probe.ca_file"),
		Warnings: unknownKeys(path, keys),

		ReplicaMetrics: d.flag("server.replica_metrics"),

		Policy:       d.policy("probe.allow", "probe.deny"),
		ReportDenied: d.flag("probe.report_denied"),

		Cluster: d.cluster(),
	}
	c.Promise = d.promise("report.promise", "probe.interval", c.Interval)
	unusable := Config{Path: path, Warnings: c.Warnings}
	switch {
	case len(d.complaints) == 1 && d.sampleAt != "":
		return unusable, SampleToken{d.sampleAt, d.complaints}
	case len(d.complaints) > 0:
		return unusable, d.complaints
	}
	c.Warnings = append(c.Warnings, d.exposures(c)...)
	c.Warnings = append(c.Warnings, d.oddities(c.Cluster)...)
	return c, nil
}

// tables returns the names of all tables a file may hold.
func tables() []string { return []string{"server", "report", "probe", "cluster"} }

// keys returns the names of all keys a file may hold.
func keys() []string {
	return []string{
		"server.log_level", "server.log_format", "server.inet", "server.hosts", "server.replica_metrics",
		"report.endpoint", "report.token", "report.token_file", "report.promise",
		"probe.interval", "probe.workers", "probe.ca_file",
		"probe.allow", "probe.deny", "probe.report_denied",
		"cluster.engine", "cluster.group", "cluster.member", "cluster.address",
		"cluster.endpoints", "cluster.ca_file", "cluster.cert_file", "cluster.key_file", "cluster.user", "cluster.password_file", "cluster.ttl",
	}
}

func isTable(name string) bool { return slices.Contains(tables(), name) }
func isKey(name string) bool   { return slices.Contains(keys(), name) }

// unknownKeys returns a sentence for each key or table that this version does not
// know. They are no errors: a downgrade must still start.
func unknownKeys(path string, found []toml.Key) []string {
	var warnings []string
	seen := map[string]bool{}
	for _, key := range found {
		// An unknown table is one warning, whatever its keys.
		name := key[:1].String()
		if isTable(name) && len(key) > 1 {
			name = key[:2].String()
		}
		if isTable(name) || isKey(name) || seen[name] {
			continue
		}
		seen[name] = true
		warnings = append(warnings, oneLine(fmt.Sprintf(
			"%s: %s is unknown and ignored, known keys: %s", path, name, strings.Join(keys(), ", "))))
	}
	return warnings
}

// oneLine returns s with every character replaced that could break or hide a line of a
// terminal or a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
