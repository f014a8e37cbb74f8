//go:build faults

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// farAddress is where the Status API and the resolver are; the targets are behind
// it. nearAddress is the daemon's.
const (
	farAddress   = namespaces.Resolver
	nearAddress  = "10.9.0.1"
	farAddress6  = "fd09::2"
	nearAddress6 = "fd09::1"
)

// conditions are those of a wire. The zero value is a good one.
type conditions struct {
	loss    float64       // of the packets of each direction, by chance
	delay   time.Duration // of each direction
	jitter  time.Duration // at most, beside the delay: later packets overtake earlier ones
	largest int           // bytes; longer packets vanish without a word. 0: any
}

// wire connects the test's network namespace, the far one, with the daemon's, the
// near one. It is made of two TUN devices and what carries packets from one to the
// other, so it needs no queueing discipline of the kernel.
type wire struct {
	near       int // the process that holds the near namespace
	conditions atomic.Pointer[conditions]
	forger     atomic.Pointer[forger] // nil: nobody forges
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{near: namespaces.Hold(t)}
	w.conditions.Store(new(conditions))
	far, near := tun(t, os.Getpid(), "wire", unix.IFF_TUN), tun(t, w.near, "wire", unix.IFF_TUN)
	var carrying sync.WaitGroup
	carrying.Go(func() { w.carry(far, near, nobody) })
	carrying.Go(func() { w.carry(near, far, w.forger.Load) })
	t.Cleanup(func() { far.Close(); near.Close(); carrying.Wait() })

	here(t, "ip link set lo up")
	here(t, "ip link set wire up txqueuelen 10000")
	here(t, "ip addr add "+farAddress+"/24 dev wire")
	here(t, "ip addr add "+farAddress6+"/64 dev wire nodad")
	there(t, w, "ip link set lo up")
	there(t, w, "ip link set wire up txqueuelen 10000")
	there(t, w, "ip addr add "+nearAddress+"/32 dev wire")
	there(t, w, "ip addr add "+nearAddress6+"/128 dev wire nodad")
	w.route(t)
	here(t, "ip route add local 10.9.1.0/24 dev lo")
	here(t, "ip route add local fd09:1::/64 dev lo")
	for _, setting := range []string{"net.ipv4.icmp_msgs_per_sec=100000", "net.ipv4.icmp_msgs_burst=10000", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"} {
		here(t, "sysctl -q -e -w "+setting)
	}
	return w
}

// route adds the near namespace's default routes.
func (w *wire) route(t *testing.T) {
	t.Helper()
	there(t, w, "ip route add default dev wire")
	there(t, w, "ip -6 route add default dev wire")
}

// tun opens a device of that name in the network namespace of a process: IFF_TUN for
// one without, IFF_TAP for one with Ethernet. The caller closes it.
func tun(t *testing.T, pid int, name string, kind uint16) *os.File {
	t.Helper()
	var file *os.File
	var err error
	var opening sync.WaitGroup
	opening.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread may be of no use to others
		file, err = openTUN(pid, name, kind)
	})
	opening.Wait()
	if err != nil {
		namespaces.Lack(t, fmt.Sprintf("no TUN device can be had here: %v", err))
	}
	return file
}

// openTUN is tun, on the thread of the caller.
func openTUN(pid int, name string, kind uint16) (*os.File, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(own)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	// This may be the main thread, whose namespace is that of the process to all others.
	defer unix.Setns(own, unix.CLONE_NEWNET)
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request := struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: kind | unix.IFF_NO_PI}
	copy(request.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		unix.Close(fd)
		return nil, errno
	}
	return os.NewFile(uintptr(fd), name), nil
}

// forger returns the packets that somebody sends to whoever has sent one, before it has
// gone anywhere.
type forger func(packet []byte) [][]byte

func nobody() *forger { return nil }

// carry takes packets from one end to the other, as the conditions are when each
// sets out, until an end is closed.
func (w *wire) carry(from, to *os.File, forger func() *forger) {
	var flying sync.WaitGroup
	defer flying.Wait()
	for {
		packet := make([]byte, 2048)
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		if forge := forger(); forge != nil {
			for _, forged := range (*forge)(packet[:n]) {
				_, _ = from.Write(forged)
			}
		}
		c := *w.conditions.Load()
		switch delay := c.delay; {
		case rand.Float64() < c.loss, c.largest > 0 && n > c.largest:
		case delay == 0:
			_, _ = to.Write(packet[:n])
		default:
			if c.jitter > 0 {
				delay += rand.N(c.jitter)
			}
			flying.Add(1)
			time.AfterFunc(delay, func() { defer flying.Done(); _, _ = to.Write(packet[:n]) })
		}
	}
}

// here and there run a command in the far and the near namespace.
func here(t *testing.T, command string) {
	t.Helper()
	namespaces.Execute(t, "", strings.Fields(command)...)
}

func there(t *testing.T, w *wire, command string) {
	t.Helper()
	namespaces.Execute(t, "", namespaces.In(w.near, strings.Fields(command)...)...)
}

// filter adds rules to a chain of that hook in the far namespace, and returns what
// takes them away.
func filter(t *testing.T, hook string, rules ...string) func() {
	t.Helper()
	return namespaces.Filter(t, os.Getpid(), hook, rules...)
}

// filterThere is filter in the near namespace.
func filterThere(t *testing.T, w *wire, hook string, rules ...string) func() {
	t.Helper()
	return namespaces.Filter(t, w.near, hook, rules...)
}
