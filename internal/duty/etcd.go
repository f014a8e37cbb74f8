package duty

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// EtcdSettings are the settings of a duty by etcd. The functions are called by any
// goroutine; one that is nil counts as one that reports no trouble.
type EtcdSettings struct {
	Endpoints []string               // client URLs of one cluster, http or https, without a user
	Group     string                 // of the daemons that watch for one page, not empty
	Member    string                 // the name of this daemon in it, not empty
	Version   string                 // of this daemon
	Page      string                 // tells pages apart without revealing the token
	TTL       time.Duration          // of the lease, 5 to 60 s
	TLS       *tls.Config            // nil: the system's roots, and no client certificate
	User      string                 // of etcd; empty: none
	Password  func() (string, error) // of User, asked at each login; not nil with a User

	// Alive returns nil while the scheduler and the outbox make progress, else an
	// error. It returns once its context is done. While it fails, the lease is not
	// renewed.
	Alive func(context.Context) error

	// API returns what this daemon knows of the Status API.
	API func() APIView

	// TryAPI asks the Status API once, since a standby sends it no reports. It
	// returns once its context is done.
	TryAPI func(context.Context) error

	// Seen returns how many replicas this daemon sees in each health.
	Seen func() (healthy, sick, dead int)
}

// APIView is what a daemon knows of the Status API.
type APIView struct {
	InVain   bool      // verdicts wait, and two tries in the last 15 s have failed
	Answered time.Time // when it last answered; zero: never yet
	Taken    time.Time // when it last took a report; zero: never yet
}

// etcd is the duty of a group, by a lease of etcd.
type etcd struct {
	s      EtcdSettings
	log    logrus.FieldLogger
	clock  clock // on which terms are counted
	client *etcdClient
	dial   dialer // nil: net.Dialer
	prefix string
	id     string // of this run of the daemon

	standing atomic.Pointer[standing]
	changed  chan struct{}
	shown    shown

	// All following fields are of Run's goroutine.
	lease     number        // 0: none
	granted   time.Duration // the TTL of the lease
	decided   time.Duration // when etcd last said who is on duty, on the clock
	first     time.Duration // since when this member's key is the first one, on the clock; never: it is not
	began     bool          // the group was read before
	seen      sightings
	said      record // of this member, as it was last written
	saidAt    time.Time
	trying    chan error // yields what TryAPI returned; nil: it does not run
	triedAt   time.Time
	triedWell time.Time // when TryAPI last succeeded
	needAPI   bool      // TryAPI is to be called
	apiFails  bool      // TryAPI failed last
	recused   bool      // out of the line, because the Status API does not answer here
	recusedAt time.Time
	yielded   int             // times that it gave the duty back for that, since a report was last taken
	failures  int             // passes in a row in which etcd did not say who is on duty
	warned    map[string]bool // warnings that were logged
	doubled   time.Duration   // since when another daemon has this member's name; never: none has
}

// NewEtcd returns the duty of a group whose holder is elected by etcd. It sends
// nothing before Run. The error names every wrong setting.
func NewEtcd(s EtcdSettings, log logrus.FieldLogger) (Duty, error) {
	return newEtcd(s, log, bootClock(), nil)
}

func newEtcd(s EtcdSettings, log logrus.FieldLogger, now clock, dial dialer) (*etcd, error) {
	var wrong []error
	if len(s.Endpoints) == 0 {
		wrong = append(wrong, errors.New("endpoints: name at least one, such as http://127.0.0.1:2379"))
	}
	s.Endpoints = append([]string(nil), s.Endpoints...)
	for i, e := range s.Endpoints {
		u, err := url.Parse(e)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			wrong = append(wrong, fmt.Errorf("endpoints: number %d is not of the form https://HOST:2379", i+1))
		case u.User != nil:
			wrong = append(wrong, fmt.Errorf("endpoints: number %d has a user: name it by user and password_file", i+1))
		default:
			s.Endpoints[i] = u.Scheme + "://" + u.Host
		}
	}
	if s.Group == "" {
		wrong = append(wrong, errors.New("group: must not be empty"))
	}
	if s.Member == "" {
		wrong = append(wrong, errors.New("member: must not be empty"))
	}
	if s.TTL < 5*time.Second || s.TTL > time.Minute {
		wrong = append(wrong, errors.New("ttl: must be from 5 to 60 seconds"))
	}
	if s.User != "" && s.Password == nil {
		wrong = append(wrong, errors.New("password_file: must be set beside user"))
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if s.Alive == nil {
		s.Alive = func(context.Context) error { return nil }
	}
	if s.API == nil {
		s.API = func() APIView { return APIView{} }
	}
	if s.Seen == nil {
		s.Seen = func() (int, int, int) { return 0, 0, 0 }
	}
	e := &etcd{
		s: s, log: log.WithField("group", s.Group), clock: now, dial: dial,
		prefix: groupPrefix(s.Group), id: strings.ToLower(rand.Text()[:8]),
		changed: make(chan struct{}, 1), seen: make(sightings), warned: make(map[string]bool),
		first: never, doubled: never,
	}
	e.client = newEtcdClient(s, e.prefix, dial)
	e.decided = now()
	e.standing.Store(&standing{aliveFrom: e.decided + e.giveUp()})
	e.shown.State = State{Engine: "etcd", Since: time.Now(), Member: s.Member, Group: s.Group}
	e.shown.warnings = make(map[subject]string)
	return e, nil
}

// giveUp returns how long etcd may be silent before the scope becomes Alive.
func (e *etcd) giveUp() time.Duration { return e.s.TTL + patience }

// beat returns the time from one pass of Run to the next.
func (e *etcd) beat() time.Duration { return e.s.TTL / 5 }

func (e *etcd) Scope() Scope { return e.standing.Load().scope(e.clock()) }

func (e *etcd) Changed() <-chan struct{} { return e.changed }

func (e *etcd) State() State {
	scope := e.Scope()
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	s := e.shown.State
	s.Scope, s.Why = scope, e.shown.why(scope)
	s.Warnings = slices.Sorted(maps.Values(e.shown.warnings))
	if e.shown.own != "" {
		s.Member = e.shown.own // two members of one name are told apart
	}
	if scope == Alive || scope == Nothing && s.Holder == e.shown.own {
		s.Holder = "" // it was the holder before the engine was lost, or the term ended
	}
	return s
}

func marshal(r record) []byte {
	b, _ := json.Marshal(r) // of strings, numbers and booleans: it cannot fail
	return b
}
