package sandbox

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Target is something on loopback that a daemon can probe, and that behaves as
// its Spec says. It can be stopped and started again. A stopped one refuses
// connections, on a port that stays its own.
type Target struct {
	spec  Spec
	tls   *tls.Config  // nil unless https
	port  *port        // nil for icmp
	delay atomic.Int64 // time.Duration before an answer
	quit  chan struct{}
	flap  sync.WaitGroup // the goroutine of a flapping target

	mu      sync.Mutex           // protects all following fields
	open    interface{ close() } // nil while nothing listens
	stopped bool                 // by a person
	down    bool                 // by flapping
	closed  bool
	changed time.Time // when it last began or ended to listen; zero: as it is since it was made
}

// openTarget makes a target on host. The caller closes it.
func openTarget(spec Spec, host string, ca *authority) (*Target, error) {
	t := &Target{spec: spec, quit: make(chan struct{})}
	if spec.Kind == "icmp" {
		return t, nil
	}
	if spec.Kind == "https" {
		t.tls = ca.serverConfig()
	}
	p, err := holdPort(host)
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

// URL is where the target is probed: its replica id.
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

// CanStop says whether Stop and Start mean something: a target that never takes
// a connection, and the kernel's echo, cannot be stopped.
func (t *Target) CanStop() bool { return t.port != nil && t.spec.answers() }

// Stop makes the target refuse connections, and ends those that are open.
func (t *Target) Stop() error { return t.change(func() { t.stopped = true }) }

// Start undoes Stop. A flapping target may still be down by itself.
func (t *Target) Start() error { return t.change(func() { t.stopped = false }) }

// Stopped says whether a person stopped the target.
func (t *Target) Stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopped
}

// Running says whether connections are taken, and since when that has been so;
// the zero time means since ever.
func (t *Target) Running() (bool, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open != nil || t.port == nil || !t.spec.answers(), t.changed
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

// change applies set, and then opens or closes the port as wanted.
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
	t.open = answer(ln, t)
	return nil
}

func (t *Target) flapping() {
	for {
		for _, phase := range []struct {
			lasts time.Duration
			down  bool
		}{{t.spec.Up, false}, {t.spec.Down, true}} {
			_ = t.change(func() { t.down = phase.down }) // a port that cannot be opened stays down until the next turn
			select {
			case <-t.quit:
				return
			case <-time.After(phase.lasts):
			}
		}
	}
}
