// Package status has the state of the daemon as it is shown to operators: the
// types of /replicas.json, and the compact record from which they are made.
//
// The names of the JSON are stable. Times are RFC 3339, durations seconds; what
// is absent is unknown. Nothing here may hold a secret: replicas are in their
// shown form, and reasons come from errors that hold none.
package status

import "time"

// Snapshot is the state of the daemon at one moment.
type Snapshot struct {
	Version         string    `json:"version"`
	Go              string    `json:"go"`
	Started         time.Time `json:"started"`
	Now             time.Time `json:"now"`
	Config          string    `json:"config"`           // the path of the file
	IntervalSeconds float64   `json:"interval_seconds"` // from probe to probe
	Host            Host      `json:"host"`
	API             API       `json:"api"`
	Cluster         *Cluster  `json:"cluster"` // null if [cluster] engine is none
	Promise         Promise   `json:"promise"`
	Counts          Counts    `json:"counts"`
	Ignored         []Ignored `json:"ignored"`
	Server          *Server   `json:"server,omitempty"` // absent if nothing is to be served
	Replicas        []Replica `json:"replicas"`         // last, since they are streamed
}

// Server is where all of this is served by HTTP.
type Server struct {
	Inet  string `json:"inet"`
	Error string `json:"error,omitempty"` // why nothing is served, until the next reload
}

// Host is what this host cannot do.
type Host struct {
	Trouble []Trouble `json:"trouble"`
}

// Trouble is a reason for which replicas have no verdict.
type Trouble struct {
	Reason        string    `json:"reason"`
	Kind          string    `json:"kind,omitempty"`
	Replicas      int       `json:"replicas"`
	Since         time.Time `json:"since,omitzero"`
	RepeatedUntil time.Time `json:"repeated_until,omitzero"` // their last verdicts
}

// APIState is how the Status API takes requests.
type APIState string

// The states of the Status API.
const (
	APIAnswers      APIState = "answers"
	APIDown         APIState = "down"
	APIUnauthorized APIState = "unauthorized" // it does not accept the token
	APIUnknown      APIState = "unknown"      // there was no answer yet
)

// MapOutcome is the outcome of the last request for the map.
type MapOutcome string

// The outcomes of a request for the map.
const (
	MapChanged   MapOutcome = "changed"
	MapUnchanged MapOutcome = "unchanged"
	MapError     MapOutcome = "error"
)

// API is the Status API as the daemon finds it.
type API struct {
	Endpoint   string     `json:"endpoint"`       // its address
	State      APIState   `json:"state"`          // answers, down, unauthorized or unknown
	Since      time.Time  `json:"since,omitzero"` // when the state began
	Error      string     `json:"error,omitempty"`
	RTTSeconds float64    `json:"rtt_seconds,omitempty"` // smoothed, of reports that were taken
	Waiting    int        `json:"waiting"`               // verdicts that were not taken yet
	NextTry    time.Time  `json:"next_try,omitzero"`     // while it takes none
	MapAt      time.Time  `json:"map_at,omitzero"`       // when it last confirmed or replaced the map
	MapOutcome MapOutcome `json:"map_outcome,omitempty"` // changed, unchanged or error
	MapError   string     `json:"map_error,omitempty"`
}

// Promise is whether every replica is reported in time.
type Promise struct {
	PromisedSeconds float64   `json:"promised_seconds"`            // within which the page is told to expect the next report of each replica
	WorstGapSeconds float64   `json:"worst_gap_seconds,omitempty"` // longest time between two reports of a replica that was up, in the last two promised times
	Late            int       `json:"late"`                        // reports taken later than promised, since the start
	ProbesInFlight  int       `json:"probes_in_flight"`            // now
	ProbesLimit     int       `json:"probes_limit"`                // at a time
	ProbesNeeded    int       `json:"probes_needed"`               // to keep the promise if all but one stop answering
	NextCycle       time.Time `json:"next_cycle,omitzero"`
}

// Counts are how many replicas have which health.
type Counts struct {
	Replicas int `json:"replicas"`
	Healthy  int `json:"healthy"`
	Sick     int `json:"sick"`
	Dead     int `json:"dead"`
	Unknown  int `json:"unknown"` // no verdict yet
	Ignored  int `json:"ignored"`
}

// Ignored is an entry of the map that is not watched.
type Ignored struct {
	Entry  string `json:"entry"`
	Reason string `json:"reason"`
}

// Replica is one replica of the map in force.
type Replica struct {
	Service        string       `json:"service"`
	Node           string       `json:"node"`
	Replica        string       `json:"replica"` // as shown: no password, no value of a query; with its #n
	Scheme         string       `json:"scheme"`
	Health         string       `json:"health"`         // healthy, sick, dead or unknown
	Since          time.Time    `json:"since,omitzero"` // when the health became that
	Reason         string       `json:"reason,omitempty"`
	Kind           string       `json:"kind,omitempty"` // of failure: dns, refused, timeout, unreachable, broken, tls, http, status, body, policy or local
	LatencySeconds float64      `json:"latency_seconds,omitempty"`
	Attempts       int          `json:"attempts,omitempty"` // of the last probe
	ProbedAt       time.Time    `json:"probed_at,omitzero"` // when the last result came
	Withheld       bool         `json:"withheld"`           // a death that is not reported yet awaits confirmation
	Reported       *Report      `json:"reported,omitempty"`
	History        []Verdict    `json:"history"` // newest first, ten at most
	LastFailure    *LastFailure `json:"last_failure,omitempty"`
}

// Report is the last report of a replica that the page took.
type Report struct {
	Health string    `json:"health"`
	At     time.Time `json:"at,omitzero"`
	Due    time.Time `json:"due,omitzero"` // when the page shows the replica dead unless it takes the next
}

// Verdict is one of the last verdicts of a replica.
type Verdict struct {
	At             time.Time `json:"at"`
	Health         string    `json:"health"`
	LatencySeconds float64   `json:"latency_seconds,omitempty"`
	Attempts       int       `json:"attempts,omitempty"`
}

// LastFailure is the last probe of a replica in which an attempt was down. Good
// verdicts never push it out.
type LastFailure struct {
	At       time.Time `json:"at"`
	Reason   string    `json:"reason"`
	Kind     string    `json:"kind,omitempty"`
	Attempts []Attempt `json:"attempts,omitempty"`
}

// Attempt is one attempt with the time that each phase of it took.
type Attempt struct {
	Address          string   `json:"address,omitempty"` // the one that was tried last
	Addresses        []string `json:"addresses,omitempty"`
	DNSSeconds       float64  `json:"dns_seconds,omitempty"`
	ConnectSeconds   float64  `json:"connect_seconds,omitempty"`
	TLSSeconds       float64  `json:"tls_seconds,omitempty"`
	FirstByteSeconds float64  `json:"first_byte_seconds,omitempty"`
	BodySeconds      float64  `json:"body_seconds,omitempty"`
	TotalSeconds     float64  `json:"total_seconds"`
	Status           int      `json:"status,omitempty"` // of the HTTP answer
	TLS              *TLS     `json:"tls,omitempty"`
	Kind             string   `json:"kind,omitempty"`
	Reason           string   `json:"reason,omitempty"`
}

// TLS is what a TLS handshake agreed on, and the certificate that was shown.
type TLS struct {
	Version  string    `json:"version,omitempty"`
	Cipher   string    `json:"cipher,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	NotAfter time.Time `json:"not_after,omitzero"`
	DaysLeft *int      `json:"days_left,omitempty"`
}
