package duty

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// network answers the probes of an address duty in faked time.
type network struct {
	t      *testing.T
	duty   *address
	log    bytes.Buffer
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

// probed waits until so many more probes were answered, or not.
func (n *network) probed(more int) {
	n.t.Helper()
	synctest.Wait()
	for want := n.probes + more; n.probes < want; synctest.Wait() {
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
		if n.wants("without the address", Nothing, false); n.probes > 0 {
			t.Errorf("got %d probes while this host does not have the address, want none", n.probes)
		}
		n.duty.has(onDevice)
		n.wants("with it", Everything, false)
		n.probed(3)
		n.wants("alone", Everything, false)

		// Two answers are those of a host that is just giving the address away.
		n.other = otherHost
		n.probed(2)
		n.other = nil
		n.probed(5)
		n.wants("after two answers", Everything, false)
		n.logged(conflictLogged, 0)

		n.other = otherHost
		n.probed(3)
		n.wants("after three answers", Alive, true)
		if s := n.duty.State(); s.Why != "another host has 10.0.0.100, too (MAC address 02:00:00:00:00:0b)" || s.Holder != "" || s.Trouble != "" {
			t.Errorf("got %+v, want the other host named", s)
		}
		n.probed(20)
		n.logged(conflictLogged, 1)
		n.logged("VRRP, IP protocol 112", 1)

		// A lost answer is no end.
		n.other = nil
		n.probed(2)
		n.other = otherHost
		n.probed(5)
		n.wants("after two silences", Alive, true)
		n.logged(endLogged, 0)

		n.other = nil
		n.probed(3)
		n.wants("after three silences", Everything, false)
		n.probed(5)
		n.logged(endLogged, 1)
		if s := n.duty.State(); s.Takeovers != 1 || s.Holder != "host-a" || s.Why != "this host has 10.0.0.100" {
			t.Errorf("got %+v, want one takeover: the address has been here all the time", s)
		}
	})
}

func TestAnotherHostIsFoundSoonAndAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.other = otherHost
		began := time.Now()
		n.duty.has(onDevice)
		n.probed(conflictConfirmations - 1) // beside the first, which is made at once
		if took := time.Since(began); took != 2*conflictConfirmPause {
			t.Errorf("got %d probes within %v, want two short pauses between them", n.probes, took)
		}
		n.wants("after them", Alive, true)
		n.other = nil
		n.probed(3)
		n.probes = 0
		time.Sleep(time.Hour)
		if most := int(time.Hour/conflictPause) + 1; n.probes > most {
			t.Errorf("got %d probes in an hour without another host, want %d at most", n.probes, most)
		}
	})
}

func TestAnAddressThatLeavesTakesItsConflictAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.other = otherHost
		n.duty.has(onDevice)
		n.probed(3)
		n.wants("on two hosts", Alive, true)
		n.duty.has(presence{devices: []uint32{7, 8}})
		n.wants("on another device, too", Alive, true)
		n.duty.has(presence{})
		n.wants("only on the other host", Nothing, false)
		n.other = nil
		n.duty.has(onDevice)
		n.wants("here again", Everything, false)
		n.logged(endLogged, 0)
		if s := n.duty.State(); s.Takeovers != 2 {
			t.Errorf("got %d takeovers, want two", s.Takeovers)
		}

		// Answers to the probe of a host that lost the address meanwhile count for nothing.
		n.probed(1)
		n.other = otherHost
		n.during = func() { n.duty.has(presence{}); n.duty.has(onDevice) }
		n.probed(3)
		n.wants("after one answer of before and two of now", Everything, false)
		n.probed(1)
		n.wants("after a third", Alive, true)
	})
}

func TestAConflictStandsWhileNobodyCanBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, "10.0.0.100")
		n.fails = errors.New("CAP_NET_RAW is missing")
		n.duty.has(onDevice)
		n.probed(3)
		n.wants("without the right", Everything, false)
		if s := n.duty.State(); s.Unchecked != n.fails.Error() || s.Trouble != "" {
			t.Errorf("got %+v, want that it is not checked, and why", s)
		}
		n.logged("it is not checked", 1)

		n.fails, n.other = nil, otherHost
		n.probed(3)
		n.wants("on two hosts", Alive, true)
		if s := n.duty.State(); s.Unchecked != "" {
			t.Errorf("got %q, want it checked", s.Unchecked)
		}
		n.fails = errors.New("eth0 is not connected")
		n.probed(5)
		n.wants("while the cable is out", Alive, true)
		n.fails = &noARPError{"lo", "is no Ethernet"}
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
		n.other = otherHost
		n.duty.has(onDevice)
		n.duty.lost(errNoEvents)
		n.probed(4)
		n.wants("while the kernel says nothing", Alive, false)
		n.duty.has(onDevice)
		n.wants("when it says again", Alive, true)
	})
}
