// Package target makes servers on loopback for a daemon to probe: healthy, slow,
// failing, flapping, refusing, black-holed.
package target

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Target is a server on loopback for a daemon to probe. It behaves as its Spec
// says, and can be stopped and started again: a stopped target refuses
// connections, and keeps its port reserved.
type Target struct {
	spec  Spec
	tls   *tls.Config  // nil unless https
	port  *port        // nil for icmp
	delay atomic.Int64 // time.Duration before an answer
	quit  chan struct{}
	flap  sync.WaitGroup // the goroutine of a flapping target

	mu      sync.Mutex           // protects all following fields
	open    interface{ close() } // nil while nothing listens
	stopped bool                 // by Stop
	down    bool                 // in the down phase of flapping
	closed  bool
	changed time.Time // the newest start or end of listening; zero: none since it was opened
}

// Open starts a target on 127.0.0.1. The caller closes it.
func Open(spec Spec, ca *Authority) (*Target, error) { return openOn(spec, oneAddress, ca) }

// openOn is Open on another address.
func openOn(spec Spec, host string, ca *Authority) (*Target, error) {
	t := &Target{spec: spec, quit: make(chan struct{})}
	if spec.Kind == "icmp" {
		return t, nil
	}
	if spec.Kind == "https" {
		t.tls = ca.ServerConfig()
	}
	p, err := reservePort(host)
	if err != nil {
		return nil, err
	}
	t.port = p
	if err := t.change(func() {}); err != nil {
		t.Close()
		return nil, fmt.Errorf("opening target %q: %w", spec.name, err)
	}
	t.changed = time.Time{}
	if spec.State == "flapping" {
		t.flap.Go(t.flapping)
	}
	return t, nil
}

// Spec returns the description of the target.
func (t *Target) Spec() *Spec { return &t.spec }

// SetLimits sets the delay of a slow target by the limits of the map in force.
func (t *Target) SetLimits(l Limits) { t.delay.Store(int64(t.spec.DelayUnder(l))) }

// URL returns the URL to probe, which is the replica id.
func (t *Target) URL() string { return t.urlAt(oneAddress) }

func (t *Target) urlAt(address string) string {
	switch {
	case t.port == nil:
		return "icmp://" + address
	case t.spec.Kind == "tcp":
		return "tcp://" + net.JoinHostPort(address, strconv.Itoa(t.port.number))
	}
	return t.spec.Kind + "://" + net.JoinHostPort(address, strconv.Itoa(t.port.number)) + "/"
}

// CanStop reports whether Stop and Start have an effect. They have none on a
// target that never takes a connection, and on icmp, which the kernel answers.
func (t *Target) CanStop() bool { return t.port != nil && t.spec.Answers() }

// Stop makes the target refuse connections, and ends those that are open.
func (t *Target) Stop() error { return t.change(func() { t.stopped = true }) }

// Start undoes Stop. A flapping target may still be in its down phase.
func (t *Target) Start() error { return t.change(func() { t.stopped = false }) }

// Stopped reports whether Stop was called last.
func (t *Target) Stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}

// Running reports whether the target behaves as its Spec says, neither stopped nor
// down, and since when it does or does not; the zero time means since it was opened.
func (t *Target) Running() (bool, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open != nil || t.port == nil || !t.spec.Answers(), t.changed
}

// Close ends the target and waits for its goroutines.
func (t *Target) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.closed = true
	close(t.quit)
	t.mu.Unlock()
	t.flap.Wait()
	_ = t.change(func() {}) // closing cannot fail
	if t.port != nil {
		t.port.close()
	}
}

// change applies set, and then opens or closes the port to match.
func (t *Target) change(set func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	set()
	wanted := t.port != nil && t.spec.State != "refusing" && !t.stopped && !t.down && !t.closed
	if wanted == (t.open != nil) {
		return nil
	}
	t.changed = time.Now()
	if !wanted {
		t.open.close()
		t.open = nil
		return nil
	}
	if t.spec.State == "blackhole" {
		hole, err := openBlackHole(t.port)
		if err != nil {
			return err
		}
		t.open = hole
		return nil
	}
	ln, err := t.port.listen()
	if err != nil {
		return err
	}
	t.open = startServer(ln, t)
	return nil
}

func (t *Target) flapping() {
	for {
		for _, phase := range []struct {
			duration time.Duration
			down     bool
		}{{t.spec.Up, false}, {t.spec.Down, true}} {
			_ = t.change(func() { t.down = phase.down }) // a port that cannot be opened stays down until the next phase
			select {
			case <-t.quit:
				return
			case <-time.After(phase.duration):
			}
		}
	}
}
