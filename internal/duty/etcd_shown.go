package duty

import (
	"cmp"
	"sync"
	"time"
)

// shown is the state for people: State returns it, and changes of it are logged.
type shown struct {
	mu sync.Mutex // protects all following fields
	State
	own     string // this member's name in Members
	took    string // why this member is on duty, if it is
	left    string // why it no longer is; empty once the engine has said who is
	stalled string // why the lease is not renewed; empty: it is
	scope   Scope  // as it was announced
	reason  string // as it was announced
	first   reason // of Trouble, when it began
	outage  outage
	timer   *time.Timer // fires when the scope changes by itself

	warnings map[subject]string // what is to be mended although the duty goes on
}

// why returns the reason for a scope.
func (s *shown) why(scope Scope) string {
	switch {
	case scope == Everything:
		return s.took
	case scope == Alive:
		return cmp.Or(s.Trouble, s.stalled, "etcd has not said for long who is on duty")
	case s.Holder != "" && s.Holder != s.own:
		return s.Holder + " is on duty"
	case s.Holder != "":
		return cmp.Or(s.left, s.stalled, s.Trouble, "its term ended before it was renewed")
	}
	return cmp.Or(s.left, s.stalled, s.Trouble, "etcd has not said yet who is on duty")
}

// publish puts a standing in force.
func (e *etcd) publish(s standing) {
	e.standing.Store(&s)
	e.announce()
}

// announce logs a change of scope, wakes the reader of Changed, and runs again when
// the scope changes by the passage of time.
func (e *etcd) announce() {
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	s, now := e.standing.Load(), e.clock()
	if e.shown.timer != nil {
		e.shown.timer.Stop()
		e.shown.timer = nil
	}
	if next := s.next(now); next != never {
		e.shown.timer = time.AfterFunc(next-now+time.Millisecond, e.announce)
	}
	scope := s.scope(now)
	why := e.shown.why(scope)
	was, before := e.shown.scope, e.shown.reason
	e.shown.scope, e.shown.reason = scope, why
	if scope != was {
		e.shown.Since = time.Now()
		select {
		case e.changed <- struct{}{}:
		default:
		}
	} else if scope != Nothing || why == before || e.shown.Holder == "" || e.shown.Holder == e.shown.own {
		return // no change, or a standby for which there is no holder at the moment
	}
	log := e.log.WithField("why", why)
	switch scope {
	case Everything:
		e.shown.Takeovers++
		log.Warn("on duty: " + reportsEverything)
	case Alive:
		log.Warn(noEngine[e.shown.Plight] + ": " + reportsAlive)
	case Nothing:
		log.Warn("standby: " + reportsNothing)
	}
}

// noEngine begins the log line of a daemon that reports without its engine, by the kind
// of the trouble.
var noEngine = map[Plight]string{
	Unreachable: "no engine says who is on duty",
	Excluded:    "this daemon cannot take part in its group",
	Undecided:   "nobody is on duty",
}

// giveUpDuty makes the scope Nothing at once, for a reason.
func (e *etcd) giveUpDuty(why string) {
	e.first = never
	e.shown.mu.Lock()
	e.shown.left = why
	e.shown.mu.Unlock()
	e.publish(standing{aliveFrom: never})
}

// decidedBy notes that etcd has said who is on duty.
func (e *etcd) decidedBy(g group) {
	e.failures = 0
	names := g.names()
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	e.shown.Members = g.shown()
	e.shown.left = ""
	before := e.shown.Holder
	e.shown.own, e.shown.Holder = names[e.lease], names[g.lead.Lease]
	switch {
	case !g.mine || e.Scope() == Everything:
	case before == "":
		e.shown.took = "nobody was on duty"
	case before == e.shown.own:
		e.shown.took = "its term had ended, and nobody else took the duty"
	default:
		e.shown.took = before + " is no longer on duty"
	}
	e.shown.outage.find(e.log, time.Now())
	e.shown.Trouble, e.shown.TroubleAt, e.shown.Plight = "", time.Time{}, Unreachable
}

// undecided notes that etcd has not said who is on duty, and why.
func (e *etcd) undecided(err error) {
	e.failures++
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	is := reason{plightOf(err), err.Error()}
	if e.shown.Trouble == "" {
		e.shown.TroubleAt, e.shown.first = time.Now(), is
	}
	another := is.why != e.shown.Trouble
	e.shown.Trouble, e.shown.Plight = is.why, is.plight
	if e.failures < 2 && is.plight != Excluded {
		return // a single pass that fails is an election among the members of etcd
	}
	if !e.shown.outage.lasts() {
		another = is != e.shown.first
		e.shown.outage.lose(e.log, e.shown.TroubleAt, e.shown.first)
	}
	if another {
		e.shown.outage.goOn(e.log, is)
	}
}

// subject is what a warning is of.
type subject uint8

const (
	ofName   subject = iota // another daemon has this member's name
	ofUser                  // etcd does not ask for the user that is named
	ofRecord                // this member's record cannot be written
)

// warn shows what is to be mended although the duty goes on, until settle. It is
// logged with the reason, each text once in the life of the daemon.
func (e *etcd) warn(of subject, text, why string) {
	e.shown.mu.Lock()
	e.shown.warnings[of] = text
	e.shown.mu.Unlock()
	if !e.warned[text] {
		e.warned[text] = true
		e.log.WithField("why", why).Warn(text)
	}
}

// settle ends what warn has shown.
func (e *etcd) settle(of subject) {
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	delete(e.shown.warnings, of)
}

// stall notes err as the reason why the lease is not renewed; nil if it is renewed.
func (e *etcd) stall(err error) {
	why := ""
	if err != nil {
		why = "this daemon makes no progress: " + err.Error()
	}
	e.shown.mu.Lock()
	defer e.shown.mu.Unlock()
	if (e.shown.stalled == "") != (why == "") {
		if err != nil {
			e.log.WithError(err).Warn("the lease is not renewed: the scheduler or the outbox makes no progress")
		} else {
			e.log.Warn("the lease is renewed again")
		}
	}
	e.shown.stalled = why
}
