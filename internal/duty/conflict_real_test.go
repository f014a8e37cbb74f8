package duty

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// peer is another host, in a namespace of its own: the other end of the test's device
// d0 is its device d0.
type peer struct {
	t   *testing.T
	pid int // of a process in its namespace
	mac net.HardwareAddr
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	if _, err := exec.LookPath("nsenter"); err != nil {
		lack(t, "nsenter is not installed")
	}
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is of the thread
	t.Cleanup(runtime.UnlockOSThread)
	if err := holder.Start(); err != nil {
		lack(t, fmt.Sprintf("no second network namespace can be had here: %v", err))
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	p := &peer{t: t, pid: holder.Process.Pid, mac: net.HardwareAddr{2, 0, 0, 0, 0, 0xb}}
	ip(t, fmt.Sprintf("link add d0 type veth peer name d0 address %v netns %d\nlink set d0 up\n", p.mac, p.pid))
	p.ip("link set d0 up")
	return p
}

// ip runs commands of ip on the peer, one a line.
func (p *peer) ip(lines string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "nsenter", "-t", fmt.Sprint(p.pid), "-n", "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("ip on the peer: %v\n%s", err, out)
	}
}

// says sends ARP packets from the peer's device to everybody.
func (p *peer) says(packets ...[]byte) {
	p.t.Helper()
	var sending sync.WaitGroup
	sending.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others
		ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(ns)
			err = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		var device *net.Interface
		if err == nil {
			device, err = net.InterfaceByName("d0")
		}
		if err != nil {
			p.t.Errorf("entering the peer's namespace: %v", err)
			return
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			p.t.Errorf("opening a socket of the peer: %v", err)
			return
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: device.Index, Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
		to.Protocol = binary.NativeEndian.Uint16([]byte{0x08, 0x06})
		for _, packet := range packets {
			if err := unix.Sendto(fd, packet, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
				p.t.Errorf("sending from the peer: %v", err)
				return
			}
		}
	})
	sending.Wait()
}

// index returns the number of a device of the test's namespace.
func index(t *testing.T, name string) uint32 {
	t.Helper()
	device, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(device.Index)
}

// TestAnotherHostAnswers, and nobody else.
func TestAnotherHostAnswers(t *testing.T) {
	t.Parallel() // they wait more than they compute
	if !inNamespace(t) {
		return
	}
	p := newPeer(t)
	d0 := []uint32{index(t, "d0")}
	// It takes a link-local address to ask from, which the kernel tests first.
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("got no link-local address that is tested")
		}
		if out, err := exec.Command("ip", "-6", "addr", "show", "dev", "d0", "scope", "link", "-tentative").Output(); err == nil && len(out) > 0 {
			break
		}
	}
	for _, addr := range []string{"10.0.0.100/24", "fd00::100/64"} {
		asked := netip.MustParsePrefix(addr).Addr()
		add := fmt.Sprintf("addr add %s dev d0", addr)
		if asked.Is6() {
			add += " nodad"
		}
		ip(t, add)
		if other, err := askOthers(t.Context(), asked, d0); other != nil || err != nil {
			t.Errorf("%v: got %v and %v while this host alone has it, want nobody", asked, other, err)
		}
		p.ip(add)
		other, err := askOthers(t.Context(), asked, d0)
		for range 10 { // the kernel says a moment later that it has an IPv6 address
			if other != nil || err != nil {
				break
			}
			other, err = askOthers(t.Context(), asked, d0)
		}
		if other.String() != p.mac.String() || err != nil {
			t.Errorf("%v: got %v and %v while the peer has it, too, want %v", asked, other, err, p.mac)
		}
		if asked.Is6() {
			continue
		}
		if check, err := CheckAddress(t.Context(), asked); err != nil || !check.Here || !strings.Contains(check.Conflict, p.mac.String()) || check.Unchecked != nil {
			t.Errorf("%v: got %+v and %v, want it here and on the peer", asked, check, err)
		}
		p.ip("addr del " + addr + " dev d0")
		if check, err := CheckAddress(t.Context(), asked); err != nil || !check.Here || check.Conflict != "" || check.Unchecked != nil {
			t.Errorf("%v: got %+v and %v, want it here alone", asked, check, err)
		}
	}
	if check, err := CheckAddress(t.Context(), netip.MustParseAddr("10.0.0.101")); err != nil || check != (AddressCheck{}) {
		t.Errorf("got %+v and %v of an address that is not here, want nothing", check, err)
	}
}

// TestDutyOnTwoHosts is the whole of it.
func TestDutyOnTwoHosts(t *testing.T) {
	t.Parallel() // they wait more than they compute
	if !inNamespace(t) {
		return
	}
	p := newPeer(t)
	p.ip("addr add 10.0.0.100/24 dev d0")
	h := newHost(t, "10.0.0.100")
	h.knows()
	ip(t, "addr add 10.0.0.100/24 dev d0")
	for began := time.Now(); !h.State().Conflict; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("got %+v, want the conflict found", h.State())
		}
	}
	if s := h.State(); s.Scope != Alive || s.Takeovers != 0 || !strings.Contains(s.Why, p.mac.String()) {
		t.Errorf("got %+v, want nothing dead reported, and the peer named", s)
	}
	ip(t, "addr del 10.0.0.100/24 dev d0")
	h.wants("without it", Nothing)
	h.stop()
	if text := h.log.String(); strings.Count(text, "level=error") != 1 || !strings.Contains(text, "mac=\""+p.mac.String()) {
		t.Errorf("got the log\n%s, want one complaint that names the peer", text)
	}
}

// TestTwoDevicesInOneNetworkAreOneHost: each answers for the address of the other.
func TestTwoDevicesInOneNetworkAreOneHost(t *testing.T) {
	t.Parallel() // they wait more than they compute
	if !inNamespace(t) {
		return
	}
	p := newPeer(t)
	ip(t, fmt.Sprintf("link add d1 type veth peer name d1 netns %d\nlink set d1 up\naddr add 10.0.0.100/24 dev d0\naddr add 10.0.0.101/24 dev d1", p.pid))
	p.ip("link add br0 type bridge\nlink set br0 up\nlink set d0 master br0\nlink set d1 master br0\nlink set d1 up")
	addr, d0 := netip.MustParseAddr("10.0.0.100"), []uint32{index(t, "d0")}
	for range 3 {
		if other, err := askOthers(t.Context(), addr, d0); other != nil || err != nil {
			t.Errorf("got %v and %v, want nobody: the other device is this host's", other, err)
		}
	}
}

// TestHostileARP neither fools, nor crashes, nor holds up a probe.
func TestHostileARP(t *testing.T) {
	t.Parallel() // they wait more than they compute
	if !inNamespace(t) {
		return
	}
	p := newPeer(t)
	ip(t, "addr add 10.0.0.100/24 dev d0")
	addr, d0 := netip.MustParseAddr("10.0.0.100"), []uint32{index(t, "d0")}
	own, err := net.InterfaceByName("d0")
	if err != nil {
		t.Fatal(err)
	}
	ours := arpOf(2, addr.As4(), [4]byte{})
	copy(ours[8:], own.HardwareAddr)
	claim := arpOf(2, addr.As4(), [4]byte{})
	others := arpOf(1, [4]byte{10, 0, 0, 7}, addr.As4())
	for _, tt := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"a claim", claim, true},
		{"claims by a device of this host", ours, false},
		{"requests for it", others, false},
		{"a claim behind many requests", others, true}, // of which the kernel drops those
		{"short packets", claim[:20], false},
		{"empty packets", nil, false},
		{"long packets", append(claim[:28:28], make([]byte, 1400)...), true},
	} {
		flood := make([][]byte, 2000)
		for i := range flood {
			flood[i] = tt.packet
		}
		if tt.name == "a claim behind many requests" {
			flood[len(flood)-1] = claim
		}
		ctx, cancel := context.WithCancel(t.Context())
		var flooding sync.WaitGroup
		flooding.Go(func() {
			for ctx.Err() == nil {
				p.says(flood...)
			}
		})
		other, err := askOthers(ctx, addr, d0)
		cancel()
		flooding.Wait()
		if got := other != nil; got != tt.want || err != nil {
			t.Errorf("%s: got %v and %v, want %v for another host", tt.name, other, err, tt.want)
		}
	}
}

// TestWhereNobodyCanBeAsked: it is said why.
func TestWhereNobodyCanBeAsked(t *testing.T) {
	t.Parallel() // they wait more than they compute
	if !inNamespace(t) {
		return
	}
	ip(t, device("d0")+"link add d1 type veth peer name d1p\nlink set d1 up\nlink set d0 arp off\nlink set lo up")
	addr := netip.MustParseAddr("10.0.0.100")
	for name, want := range map[string]string{
		"lo":  "lo is no Ethernet",
		"d0":  "d0 has no ARP",
		"d1":  "d1 is not connected",
		"d0p": "",
	} {
		_, err := askOthers(t.Context(), addr, []uint32{index(t, name)})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if _, err := askOthers(t.Context(), addr, []uint32{index(t, "lo"), index(t, "d0p")}); err != nil {
		t.Errorf("got %v where one of two devices can be asked on, want no error", err)
	}
	if _, err := askOthers(t.Context(), addr, []uint32{4711}); err == nil {
		t.Error("got no error of a device that is gone")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if other, _ := askOthers(ctx, addr, []uint32{index(t, "d0p")}); other != nil {
		t.Errorf("got %v at the end, want nobody", other)
	}

	// The capability is the thread's.
	var without sync.WaitGroup
	without.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			t.Errorf("dropping capabilities: %v", err)
			return
		}
		if _, err := askOthers(t.Context(), addr, []uint32{index(t, "d0p")}); err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW is missing") {
			t.Errorf("got %v without CAP_NET_RAW, want the right named", err)
		}
	})
	without.Wait()
}
