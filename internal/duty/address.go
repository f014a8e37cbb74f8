package duty

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// addressPause is the wait before the next subscription to the kernel's events, after
// one has failed.
const addressPause = 5 * time.Second

// address is the duty of the host that has an address.
type address struct {
	addr    netip.Addr
	log     logrus.FieldLogger
	changed chan struct{}
	moved   chan struct{} // wakes seekConflict
	ask     func(context.Context, netip.Addr, []uint32) (net.HardwareAddr, error)

	mu        sync.Mutex // protects all following fields
	state     State
	situation situation
	onDuty    bool // the scope was Everything since the address came
	present   presence
	moves     int // of the address, as far as present tells
	conflict  conflict
	other     net.HardwareAddr // that last claimed the address; nil: none did since it moved
}

// situation is what decides about the scope.
type situation uint8

const (
	unread    situation = iota // the addresses of this host were not read yet
	away                       // this host does not have the address, or the kernel still tests it for duplicates
	unasked                    // it has, and it is not known yet whether another one has it, too
	here                       // it alone has
	shared                     // another one has it, too
	duplicate                  // the kernel keeps it from being used, since another host has it
	blind                      // the kernel does not say
)

// NewAddress returns the duty of the daemon on the host that has addr, which another
// program moves between hosts, such as keepalived or Pacemaker. The kernel's events
// tell of it within milliseconds. An IPv6 address does not count while the kernel
// tests it for duplicates.
//
// The scope is Alive while another host has addr, too: it answers probes on the devices
// of addr, or the kernel has found it; and until the first probe has stayed without an
// answer. The scope is Alive, too, while the kernel gives
// no events.
func NewAddress(addr netip.Addr, member string, log logrus.FieldLogger) Duty {
	return &address{
		addr: addr.Unmap().WithZone(""), log: log.WithField("address", addr), changed: make(chan struct{}, 1), moved: make(chan struct{}, 1), ask: askOthers,
		state: State{Engine: EngineAddress, Scope: Nothing, Since: time.Now(), Member: member, Why: "the addresses of this host were not read yet"},
	}
}

func (a *address) Run(ctx context.Context) {
	var seeking sync.WaitGroup
	seeking.Go(func() { a.seekConflict(ctx) })
	for ctx.Err() == nil {
		err := watchAddress(ctx, a.addr, a.has)
		if ctx.Err() != nil {
			break
		}
		a.lost(err)
		select {
		case <-ctx.Done():
		case <-time.After(addressPause):
		}
	}
	seeking.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn(Nothing, "this daemon ends")
}

func (a *address) Scope() Scope {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state.Scope
}

func (a *address) Changed() <-chan struct{} { return a.changed }

func (a *address) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.state
	if s.Scope == Everything {
		s.Holder = s.Member
	}
	return s
}

// has puts in force where this host has the address.
func (a *address) has(p presence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Trouble != "" {
		a.state.Trouble, a.state.TroubleAt = "", time.Time{}
		a.log.Warn("the kernel says again which addresses this host has")
	}
	a.present = p
	a.moves++
	a.conflict.contrary = 0
	if len(p.devices) == 0 {
		a.onDuty = false
		a.conflict, a.other, a.state.Unchecked = conflict{}, nil, ""
	}
	a.settle()
	select {
	case a.moved <- struct{}{}:
	default:
	}
}

// lost puts in force that the kernel does not say which addresses this host has.
func (a *address) lost(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Trouble == "" {
		a.log.WithError(err).Error("the kernel does not say which addresses this host has: " + reportsAlive)
		a.state.TroubleAt = time.Now()
	}
	a.state.Trouble = err.Error()
	a.settle()
}

// settle puts in force what follows from all that is known, and logs a change.
func (a *address) settle() {
	before, now := a.situation, a.now()
	a.situation = now
	a.state.Conflict = now == shared || now == duplicate
	switch now {
	case blind:
		a.turn(Alive, "the kernel does not say which addresses this host has")
	case duplicate:
		// Nobody reports if the kernel is wrong, or if the other host is gone.
		a.turn(Alive, duplicateText(a.addr))
	case shared:
		a.turn(Alive, conflictText(a.addr, a.other))
	case unasked:
		// A host that takes over has nothing to say that cannot wait for a second, but
		// for who is alive.
		a.turn(Alive, fmt.Sprintf("this host has %v, and asks whether another one has it, too", a.addr))
	case here:
		a.turn(Everything, fmt.Sprintf("this host has %v", a.addr))
	default:
		why := fmt.Sprintf("this host does not have %v", a.addr)
		if a.present.tentative {
			why = tentativeText(a.addr)
		}
		a.turn(Nothing, why)
	}
	if before == now {
		return
	}
	if now == here && (!a.onDuty || before == blind) {
		a.onDuty = true
		a.state.Takeovers++
	}
	switch {
	case now == shared:
		a.log.WithField("mac", a.other.String()).Error("another host has the address, too: " + reportsAlive +
			" (let VRRP, IP protocol 112, pass between the hosts if keepalived moves the address, or take it from one of them)")
	case now == duplicate:
		a.log.Error("the kernel has found the address on another host, and does not use it here: " + reportsAlive +
			" (take the address from one of the hosts; here it has to be added again)")
	case now == here && before == shared:
		a.log.Warn("no other host has the address any more: " + reportsEverything)
	case now == here:
		a.log.WithField("why", a.state.Why).Warn("on duty: " + reportsEverything)
	case now == away:
		a.log.WithField("why", a.state.Why).Warn("standby: " + reportsNothing)
	}
}

// now returns the situation.
func (a *address) now() situation {
	switch {
	case a.state.Trouble != "":
		return blind
	case len(a.present.devices) == 0 && a.present.duplicate:
		return duplicate
	case len(a.present.devices) == 0:
		return away
	case a.conflict.found:
		return shared
	case !a.conflict.known:
		return unasked
	}
	return here
}

// turn puts scope in force, and wakes the reader of Changed if it is another one.
func (a *address) turn(scope Scope, why string) {
	a.state.Why = why
	if a.state.Scope == scope {
		return
	}
	a.state.Scope, a.state.Since = scope, time.Now()
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// errNoEvents says that the kernel has closed the subscription.
var errNoEvents = errors.New("the kernel's events of addresses have ended")
