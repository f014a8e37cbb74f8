package duty

import "time"

// standing is what the engine last said, as times on the boot clock. A value is
// never changed, so that one atomic load gives a whole one.
type standing struct {
	until     time.Duration // everything may be reported before it
	aliveFrom time.Duration // what is alive may be reported from it on
}

// scope returns what may be reported at a time.
func (s standing) scope(now time.Duration) Scope {
	switch {
	case now < s.until:
		return Everything
	case now >= s.aliveFrom:
		return Alive
	}
	return Nothing
}

// next returns when the scope changes by itself, after now; never, if it does not.
func (s standing) next(now time.Duration) time.Duration {
	switch {
	case now < s.until:
		return s.until
	case now < s.aliveFrom:
		return s.aliveFrom
	}
	return never
}

// termOf returns how long a term lasts that was renewed for ttl, counted from when
// the renewal was sent. The engine counts from a later moment, but on a clock of
// its own: a tenth is the margin for clocks of which one runs up to 5 % faster and
// the other 5 % slower.
func termOf(ttl time.Duration) time.Duration { return ttl - ttl/10 }

// patience is how much longer than the TTL etcd may be silent before the daemons
// report healthy and sick without it. By then every lease has ended.
const patience = 5 * time.Second
