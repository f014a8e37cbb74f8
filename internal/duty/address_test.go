package duty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

// namespaceVariable tells the test binary that it is in a network namespace of its own.
const namespaceVariable = "CRISP_STATUS_LOCAL_TEST_NAMESPACE"

// inNamespace reports whether the test runs in a network namespace of its own, and
// runs it there if not.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		lack(t, "ip is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		lack(t, fmt.Sprintf("no network namespace can be had here: %v", err))
	}
	if err != nil {
		t.Errorf("%s", out)
	} else if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	return false
}

// ip runs commands of ip, one a line.
func ip(t *testing.T, lines string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "Unknown device type") {
			lack(t, "this kernel has no veth devices")
		}
		t.Fatalf("ip: %v\n%s", err, out)
	}
}

// host is an address duty at work, in the test's namespace.
type host struct {
	Duty
	t    *testing.T
	log  bytes.Buffer
	stop func()
}

func newHost(t *testing.T, addr string) *host {
	t.Helper()
	h := &host{t: t}
	log := logrus.New()
	log.SetOutput(&h.log)
	log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
	h.Duty = NewAddress(netip.MustParseAddr(addr), "host-a", log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Run(ctx)
	}()
	h.stop = func() { cancel(); <-done }
	return h
}

// wants fails the test unless the scope becomes this one, and that is said.
func (h *host) wants(what string, scope Scope) {
	h.t.Helper()
	patience := time.After(20 * time.Second)
	for h.Scope() != scope {
		select {
		case <-h.Changed():
		case <-patience:
			h.t.Fatalf("%s: got the scope %s, want %s; state %+v", what, h.Scope(), scope, h.State())
		}
	}
}

// knows waits until the duty has read the addresses of its host.
func (h *host) knows() {
	h.t.Helper()
	for began := time.Now(); strings.HasSuffix(h.State().Why, "not read yet"); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			h.t.Fatalf("got %+v, want the addresses of this host read", h.State())
		}
	}
}

// device returns the commands that make a device. It is a veth: not every kernel has
// dummies.
func device(name string) string {
	return "link add " + name + " type veth peer name " + name + "p\nlink set " + name + " up\nlink set " + name + "p up\n"
}

// TestAddressComesAndGoes, in every way.
func TestAddressComesAndGoes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, device("d0")+device("d1"))
	for _, tt := range []struct{ addr, other, bits, untested string }{
		{"10.0.0.100", "10.0.0.101", "/32", ""},
		{"fd00::100", "fd00::101", "/128", " nodad"},
	} {
		add := func(addr, device string) string {
			return "addr add " + addr + tt.bits + " dev " + device + tt.untested + "\n"
		}
		del := func(addr, device string) string { return "addr del " + addr + tt.bits + " dev " + device + "\n" }
		h := newHost(t, tt.addr)
		h.knows()
		h.wants("without it", Nothing)
		ip(t, add(tt.other, "d0")+add(tt.addr, "d0"))
		h.wants("with it", Everything)
		if s := h.State(); s.Holder != "host-a" || s.Takeovers != 1 || s.Engine != EngineAddress || !strings.Contains(s.Why, tt.addr) {
			t.Errorf("got %+v on duty", s)
		}
		if tt.untested == "" { // the kernel says a moment later that it has an IPv6 address
			ip(t, add(tt.addr, "d1")+del(tt.addr, "d0")+add(tt.addr, "d0")+del(tt.addr, "d1"))
		}
		ip(t, del(tt.other, "d0"))
		ip(t, del(tt.addr, "d0"))
		h.wants("without it again", Nothing)
		if s := h.State(); s.Takeovers != 1 || s.Holder != "" {
			t.Errorf("got %+v, want one takeover: the address was here on one device or the other", s)
		}
		ip(t, device("d2")+add(tt.addr, "d2"))
		h.wants("on a new device", Everything)
		ip(t, "link del d2")
		h.wants("that is gone", Nothing)
		ip(t, add(tt.addr, "d1"))
		h.wants("on the old one", Everything)

		late := newHost(t, tt.addr)
		late.wants("it was here before", Everything)
		late.stop()
		h.stop()
		if h.Scope() != Nothing {
			t.Errorf("got the scope %s after the end, want nothing", h.Scope())
		}
		if text := h.log.String(); strings.Count(text, "level=warning") != 6 {
			t.Errorf("got the log\n%s, want a warning of what it began with, and one of each of 5 changes", text)
		}
		ip(t, del(tt.addr, "d1"))
	}
}

// TestTentativeAddress: an address that is being tested for duplicates, or that
// another host has, is not here.
func TestTentativeAddress(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, device("d0"))
	h := newHost(t, "fd00::100")
	defer h.stop()
	h.knows()
	ip(t, "addr add fd00::100/64 dev d0p nodad")
	h.wants("on a device without a test", Everything)
	ip(t, "addr del fd00::100/64 dev d0p")
	h.wants("gone", Nothing)
	// Nobody else has it: it is here once that is known.
	ip(t, "addr add fd00::100/64 dev d0")
	scope := h.Scope()
	shown, err := exec.CommandContext(t.Context(), "ip", "addr", "show", "dev", "d0").Output()
	if err != nil {
		t.Fatal(err)
	}
	if scope != Nothing && bytes.Contains(shown, []byte("tentative")) {
		t.Error("got the duty while the address is tentative, want it afterwards")
	}
	h.wants("tested", Everything)

	// Somebody else has it.
	ip(t, "addr add fd00::200/64 dev d0p nodad")
	other := newHost(t, "fd00::200")
	defer other.stop()
	other.wants("without a test", Everything)
	ip(t, "addr add fd00::200/64 dev d0")
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		shown, err := exec.CommandContext(t.Context(), "ip", "addr", "show", "dev", "d0").Output()
		if err != nil || time.Since(began) > 20*time.Second {
			t.Fatalf("got no duplicate found (%v)\n%s", err, shown)
		}
		if bytes.Contains(shown, []byte("dadfailed")) {
			break
		}
	}
	ip(t, "addr del fd00::200/64 dev d0p")
	other.wants("here, but a duplicate", Alive)
}

// TestAddressUnderTest: nobody takes an address that the kernel still tests for one that
// is not here.
func TestAddressUnderTest(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, device("d0"))
	const forAnHour = "3600"
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/d0/dad_transmits", []byte(forAnHour), 0); err != nil {
		lack(t, fmt.Sprintf("the kernel's test of an address cannot be prolonged here: %v", err))
	}
	ip(t, "addr add fd00::100/64 dev d0")
	check, err := CheckAddress(t.Context(), netip.MustParseAddr("fd00::100"))
	if err != nil || check != (AddressCheck{Tentative: true}) {
		t.Errorf("got %+v and %v, want that it is tentative, and not in use", check, err)
	}
	h := newHost(t, "fd00::100")
	defer h.stop()
	h.knows()
	if s := h.State(); s.Scope != Nothing || !strings.Contains(s.Why, "tentative") {
		t.Errorf("got the scope %s, %q, want nothing reported, since it is tentative", s.Scope, s.Why)
	}
}

// TestFloodOfAddresses: events that are lost because there are too many of them do not
// leave a wrong picture.
func TestFloodOfAddresses(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, device("d0"))
	var mu sync.Mutex
	var said []bool
	flooded := make(chan struct{})
	began := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error, 1)
	go func() {
		over <- watchAddress(ctx, netip.MustParseAddr("10.0.0.100"), func(p presence) {
			mu.Lock()
			said = append(said, len(p.devices) > 0)
			first := len(said) == 1
			mu.Unlock()
			if first {
				close(began)
				<-flooded // nobody reads the socket meanwhile
			}
		})
	}()
	<-began
	var flood strings.Builder
	for round := range 4 {
		for i := range 2000 {
			verb := []string{"add", "del"}[round%2]
			fmt.Fprintf(&flood, "addr %s 10.1.%d.%d/32 dev d0\n", verb, i/250, i%250+1)
		}
	}
	ip(t, flood.String()+"addr add 10.0.0.100/32 dev d0")
	close(flooded)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		got := len(said)
		mu.Unlock()
		if got == 2 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("got %d answers after a flood that hid the address, want the second, that it is here", got)
		}
	}
	ip(t, "addr del 10.0.0.100/32 dev d0")
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		got := len(said)
		mu.Unlock()
		if got == 3 {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("got %d answers, want the third, that it is gone", got)
		}
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v at the end, want that of the context", err)
	}
}

// TestKernelWithoutEvents: then what is up is reported, and no death.
func TestKernelWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := logrus.New()
		log.SetOutput(&text)
		a := NewAddress(netip.MustParseAddr("10.0.0.100"), "host-a", log).(*address)
		a.lost(errNoEvents)
		a.lost(errNoEvents)
		if s := a.State(); s.Scope != Alive || s.Trouble != errNoEvents.Error() || s.TroubleAt.IsZero() {
			t.Errorf("got %+v, want only what is up reported, and why", s)
		}
		a.has(presence{devices: []uint32{1}})
		a.asked(1, nil, nil)
		if s := a.State(); s.Scope != Everything || s.Trouble != "" || !s.TroubleAt.IsZero() {
			t.Errorf("got %+v, want the trouble over", s)
		}
		for _, line := range []string{"does not say which addresses", "says again which addresses"} {
			if n := strings.Count(text.String(), line); n != 1 {
				t.Errorf("got %q %d times in the log, want once", line, n)
			}
		}
	})
}

func TestFixedDuties(t *testing.T) {
	for _, tt := range []struct {
		duty   Duty
		engine string
		scope  Scope
	}{{Always(), EngineNone, Everything}, {AliveOnly("host-a"), EngineAlive, Alive}} {
		s := tt.duty.State()
		if s.Engine != tt.engine || s.Scope != tt.scope || tt.duty.Scope() != tt.scope || tt.duty.Changed() != nil || s.Why == "" {
			t.Errorf("got %+v, want the engine %s with the scope %s, for ever", s, tt.engine, tt.scope)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		tt.duty.Run(ctx)
	}
}
