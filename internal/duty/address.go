package duty

import (
	"context"
	"errors"
	"fmt"
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

	mu      sync.Mutex // protects all following fields
	state   State
	decided bool // the first scope was found
}

// NewAddress returns the duty of the daemon on the host that has addr, which another
// program moves between hosts, such as keepalived or Pacemaker. The kernel's events
// tell of it within milliseconds. An IPv6 address does not count while the kernel
// tests it for duplicates, nor after it has found one.
//
// While the kernel gives no events, the scope is Alive.
func NewAddress(addr netip.Addr, member string, log logrus.FieldLogger) Duty {
	return &address{
		addr: addr.Unmap().WithZone(""), log: log.WithField("address", addr), changed: make(chan struct{}, 1),
		state: State{Engine: EngineAddress, Scope: Nothing, Since: time.Now(), Member: member, Why: "the addresses of this host were not read yet"},
	}
}

func (a *address) Run(ctx context.Context) {
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

// has puts in force whether this host has the address.
func (a *address) has(here bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Trouble != "" {
		a.state.Trouble, a.state.TroubleAt = "", time.Time{}
		a.log.Warn("the kernel says again which addresses this host has")
	}
	before := a.state.Scope
	if here {
		a.turn(Everything, fmt.Sprintf("this host has %v", a.addr))
	} else {
		a.turn(Nothing, fmt.Sprintf("this host does not have %v", a.addr))
	}
	if a.decided && before == a.state.Scope {
		return
	}
	a.decided = true
	if here {
		a.state.Takeovers++
		a.log.Warn("on duty, since this host has the address: reporting everything")
		return
	}
	a.log.Warn("standby, since this host does not have the address: reporting nothing")
}

// lost puts in force that the kernel does not say which addresses this host has.
func (a *address) lost(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state.Trouble == "" {
		a.log.WithError(err).Error("the kernel does not say which addresses this host has: reporting who is healthy or sick, and leaving dead to the page's own time-out")
		a.state.TroubleAt = time.Now()
	}
	a.state.Trouble = err.Error()
	a.turn(Alive, "the kernel does not say which addresses this host has")
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
