package duty

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// network answers the probes of an address duty in faked time.
type network struct {
	t    *testing.T
	duty *address
	log  bytes.Buffer

	mu     sync.Mutex       // protects all following fields
	other  net.HardwareAddr // that answers; nil: nobody
	fails  error            // instead of an answer
	during func()           // what else goes on during the next probe; nil: nothing
	probes int
}

func newNetwork(t *testing.T, addr string) *network {
	n := &network{t: t}
	log := logrus.New()
	log.SetOutput(&n.log)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	n.duty = NewAddress(netip.MustParseAddr(addr), "host-a", log).(*address)
	n.duty.ask = func(context.Context, netip.Addr, []uint32) (net.HardwareAddr, error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.probes++
		if during := n.during; during != nil {
			n.during = nil
			during()
		}
		return n.other, n.fails
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.duty.seekConflict(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return n
}

// answers makes that host answer from now on; nil: nobody.
func (n *network) answers(other net.HardwareAddr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.other, n.fails = other, nil
}

// fail makes probes fail from now on.
func (n *network) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails = err
}

// count returns the number of probes so far.
func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.probes
}

// probed waits until so many more probes were answered, or not.
func (n *network) probed(more int) {
	n.t.Helper()
	synctest.Wait()
	for want := n.count() + more; n.count() < want; synctest.Wait() {
		time.Sleep(time.Second)
	}
}

// wants fails the test unless the state is that.
func (n *network) wants(what string, scope Scope, conflict bool) {
	n.t.Helper()
	synctest.Wait()
	if s := n.duty.State(); s.Scope != scope || s.Conflict != conflict {
		n.t.Errorf("%s: got %+v, want the scope %s and %v for a conflict", what, s, scope, conflict)
	}
}

// logged fails the test unless that text is in the log so many times.
func (n *network) logged(text string, times int) {
	n.t.Helper()
	if got := strings.Count(n.log.String(), text); got != times {
		n.t.Errorf("got %q %d times in the log, want %d times:\n%s", text, got, times, n.log.String())
	}
}

const (
	conflictLogged = "another host has the address, too"
	endLogged      = "no other host has the address any more"
)

var (
	otherHost = net.HardwareAddr{2, 0, 0, 0, 0, 0xb}
	onDevice  = presence{devices: []uint32{7}}
)

func TestAnAddressOnTwoHostsLeavesDeathsToThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.duty.has(presence{})
		time.Sleep(time.Hour)
		if n.wants("without the address", Nothing, false); n.count() > 0 {
			t.Errorf("got %d probes while this host does not have the address, want none", n.count())
		}
		n.duty.has(onDevice)
		n.wants("with it", Everything, false)
		n.probed(3)
		n.wants("alone", Everything, false)
		n.logged("on duty: everything is reported", 1)

		// Two answers are those of a host that is just giving the address away.
		n.answers(otherHost)
		n.probed(2)
		n.answers(nil)
		n.probed(5)
		n.wants("after two answers", Everything, false)
		n.logged(conflictLogged, 0)

		n.answers(otherHost)
		n.probed(3)
		n.wants("after three answers", Alive, true)
		if s := n.duty.State(); s.Why != "another host has 10.0.0.100, too (MAC address 02:00:00:00:00:0b)" || s.Holder != "" || s.Trouble != "" {
			t.Errorf("got %+v, want the other host named", s)
		}
		n.probed(20)
		n.logged(conflictLogged, 1)
		n.logged("VRRP, IP protocol 112", 1)

		// A lost answer is no end.
		n.answers(nil)
		n.probed(2)
		n.answers(otherHost)
		n.probed(5)
		n.wants("after two silences", Alive, true)
		n.logged(endLogged, 0)

		n.answers(nil)
		n.probed(3)
		n.wants("after three silences", Everything, false)
		n.probed(5)
		n.logged(endLogged, 1)
		if s := n.duty.State(); s.Takeovers != 1 || s.Holder != "host-a" || s.Why != "this host has 10.0.0.100" {
			t.Errorf("got %+v, want one takeover: the address has been here all the time", s)
		}
	})
}

func TestAHostThatTakesAnAddressOverFirstAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.duty.has(presence{})
		// The address comes while another host has it, and keeps it: nothing dead is
		// ever reported.
		n.answers(otherHost)
		n.duty.has(onDevice)
		n.wants("before three answers", Alive, false)
		if s := n.duty.State(); s.Takeovers != 0 || s.Holder != "" || !strings.Contains(s.Why, "asks whether another one") {
			t.Errorf("got %+v, want that it is asked", s)
		}
		n.probed(2)
		n.wants("after them", Alive, true)
		n.logged("on duty", 0)
		n.logged(conflictLogged, 1)
		n.answers(nil)
		n.probed(3)
		n.wants("alone", Everything, false)
		if n.logged(endLogged, 1); n.duty.State().Takeovers != 1 {
			t.Errorf("got %d takeovers, want one", n.duty.State().Takeovers)
		}

		// Another host gives it away a moment later.
		n.duty.has(presence{})
		n.answers(otherHost)
		n.duty.has(onDevice)
		n.wants("after an answer", Alive, false)
		n.answers(nil)
		n.probed(1)
		n.wants("after a silence", Everything, false)
		n.logged(conflictLogged, 1)
	})
}

func TestAnotherHostIsFoundSoonAndAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.answers(otherHost)
		began := time.Now()
		n.duty.has(onDevice)
		n.probed(conflictConfirmations - 1) // beside the first, which is made at once
		if took := time.Since(began); took != 2*conflictConfirmPause {
			t.Errorf("got %d probes within %v, want two short pauses between them", n.count(), took)
		}
		n.wants("after them", Alive, true)
		n.answers(nil)
		n.probed(3)
		before := n.count()
		time.Sleep(time.Hour)
		if got, most := n.count()-before, int(time.Hour/conflictPause)+1; got > most {
			t.Errorf("got %d probes in an hour without another host, want %d at most", got, most)
		}
	})
}

func TestAnAddressThatLeavesTakesItsConflictAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.answers(otherHost)
		n.duty.has(onDevice)
		n.probed(3)
		n.wants("on two hosts", Alive, true)
		n.duty.has(presence{devices: []uint32{7, 8}})
		n.wants("on another device, too", Alive, true)
		n.duty.has(presence{})
		n.wants("only on the other host", Nothing, false)
		n.answers(nil)
		n.duty.has(onDevice)
		n.wants("here again", Everything, false)
		n.logged(endLogged, 0)
		if s := n.duty.State(); s.Takeovers != 1 {
			t.Errorf("got %d takeovers, want one: before, this host never had the address alone", s.Takeovers)
		}

		// Answers to the probe of a host that lost the address meanwhile count for nothing.
		n.probed(1)
		n.answers(otherHost)
		n.mu.Lock()
		n.during = func() { n.duty.has(presence{}); n.duty.has(onDevice) }
		n.mu.Unlock()
		n.probed(3)
		n.wants("after one answer of before and two of now", Alive, false)
		n.probed(1)
		n.wants("after a third", Alive, true)
	})
}

func TestAConflictStandsWhileNobodyCanBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		missing := errors.New("CAP_NET_RAW is missing")
		n.fail(missing)
		n.duty.has(onDevice)
		n.probed(3)
		n.wants("without the right", Everything, false)
		if s := n.duty.State(); s.Unchecked != missing.Error() || s.Trouble != "" {
			t.Errorf("got %+v, want that it is not checked, and why", s)
		}
		n.logged("it is not checked", 1)

		n.answers(otherHost)
		n.probed(3)
		n.wants("on two hosts", Alive, true)
		if s := n.duty.State(); s.Unchecked != "" {
			t.Errorf("got %q, want it checked", s.Unchecked)
		}
		n.fail(errors.New("eth0 is not connected"))
		n.probed(5)
		n.wants("while the cable is out", Alive, true)
		n.fail(&noARPError{"lo", "is no Ethernet"})
		n.probed(1)
		n.wants("where it can never be known", Everything, false)

		n.duty.has(presence{})
		if s := n.duty.State(); s.Unchecked != "" {
			t.Errorf("got %q without the address, want nothing to be checked", s.Unchecked)
		}
	})
}

func TestAConflictThatTheKernelFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "fd00::100")
		n.duty.has(presence{duplicate: true})
		n.wants("found by the kernel", Alive, true)
		n.logged("the kernel has found the address on another host", 1)
		if s := n.duty.State(); !strings.HasPrefix(s.Why, "another host has fd00::100, too") || s.Takeovers != 0 {
			t.Errorf("got %+v, want the conflict named, and no takeover", s)
		}
		n.duty.has(presence{devices: []uint32{7}, duplicate: true})
		n.wants("on another device it can be used", Everything, false)
		n.duty.has(presence{})
		n.wants("gone", Nothing, false)
	})
}

func TestTroubleOfTheKernelComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.answers(otherHost)
		n.duty.has(onDevice)
		n.duty.lost(errNoEvents)
		n.probed(4)
		n.wants("while the kernel says nothing", Alive, false)
		n.duty.has(onDevice)
		n.wants("when it says again", Alive, true)
	})
}
