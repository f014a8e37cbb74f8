package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespaceVariable tells the test binary that it is in a network namespace of
// its own.
const namespaceVariable = "CRISP_STATUS_LOCAL_TEST_NAMESPACE"

// requireVariable is set where every test must run, whatever it takes.
const requireVariable = "CRISP_REQUIRE_TOOLS"

// inNamespace reports whether the test runs in a network namespace of its own,
// and runs it there if not.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceVariable) != "" {
		return true
	}
	if os.Getenv(requireVariable) == "" {
		t.Skip("make test-peers runs it: the kernel's limit of ICMP messages is that of all namespaces together")
	}
	t.Parallel() // they wait more than they compute
	for _, tool := range []string{"ip", "nft", "nsenter", "sleep", "sysctl"} {
		needTool(t, tool)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v", "-test.parallel", "32")
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

// lack skips the test, for want of what why says. Where CRISP_REQUIRE_TOOLS is
// set, that is a failure.
func lack(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(requireVariable) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// needTool returns the path of a program that the test cannot do without.
func needTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lack(t, name+" is not installed")
	}
	return path
}

// network is a link from the test's namespace, which has the addresses 10.9.0.1
// and fd09::1, to another one, which has 10.9.0.2 and fd09::2 and is a router.
type network struct {
	t   *testing.T
	pid int // of a process in the other namespace
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	holder := exec.Command("sleep", "infinity")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is of the thread
	t.Cleanup(runtime.UnlockOSThread)
	if err := holder.Start(); err != nil {
		lack(t, fmt.Sprintf("no second network namespace can be had here: %v", err))
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	n := &network{t, holder.Process.Pid}
	n.here("ip link set lo up")
	n.here(fmt.Sprintf("ip link add v0 type veth peer name v1 netns %d", n.pid))
	n.here("ip addr add 10.9.0.1/24 brd 10.9.0.255 dev v0")
	n.here("ip addr add fd09::1/64 dev v0 nodad")
	n.there("ip link set lo up")
	n.there("ip addr add 10.9.0.2/24 dev v1")
	n.there("ip addr add fd09::2/64 dev v1 nodad")
	n.there("ip link set v1 up")
	n.here("ip link set v0 up")
	n.wait()
	// An answer to every packet, however many there are.
	for _, name := range []string{"net.ipv4.icmp_msgs_per_sec=100000", "net.ipv4.icmp_msgs_burst=10000", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"} {
		n.here("sysctl -q -e -w " + name)
		n.there("sysctl -q -e -w " + name)
	}
	return n
}

// wait returns once both ends of the link carry packets, which the kernel sees to
// in its own time: until then it drops them, and asks for a neighbour again only
// after a second.
func (n *network) wait() {
	n.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		here, err := net.InterfaceByName("v0")
		if err != nil {
			n.t.Fatal(err)
		}
		there, err := exec.Command("nsenter", "-t", fmt.Sprint(n.pid), "-n", "ip", "-o", "link", "show", "v1").CombinedOutput()
		switch {
		case here.Flags&net.FlagRunning != 0 && bytes.Contains(there, []byte("state UP")):
			return
		case time.Now().After(end):
			n.t.Fatalf("the link is not up: %v, %s, %v", here.Flags, there, err)
		}
	}
}

// here runs a command in the test's namespace.
func (n *network) here(command string) { n.run("", strings.Fields(command)...) }

// there runs a command in the other namespace.
func (n *network) there(command string) {
	n.run("", append([]string{"nsenter", "-t", fmt.Sprint(n.pid), "-n"}, strings.Fields(command)...)...)
}

// addAddress gives the other namespace one more address.
func (n *network) addAddress(addr string) {
	if netip.MustParseAddr(addr).Is6() {
		n.there("ip addr add " + addr + "/128 dev v1 nodad")
	} else {
		n.there("ip addr add " + addr + "/32 dev v1")
	}
}

// filterHere and filterThere add rules to a chain of that hook.
func (n *network) filterHere(hook string, rules []string) {
	n.run(chain(hook, rules), "nft", "-f", "-")
}
func (n *network) filterThere(hook string, rules []string) {
	n.run(chain(hook, rules), "nsenter", "-t", fmt.Sprint(n.pid), "-n", "nft", "-f", "-")
}

func chain(hook string, rules []string) string {
	return fmt.Sprintf("table inet test {\nchain %s {\ntype filter hook %s priority 0\n%s\n}\n}\n", hook, hook, strings.Join(rules, "\n"))
}

func (n *network) run(input string, command ...string) {
	n.t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		lack(n.t, fmt.Sprintf("%s: %v: %s%s", strings.Join(command, " "), err, out, input))
	}
}

// answer makes the other namespace answer every IP packet that comes over the
// link with the packets that respond returns, whatever its kernel does.
func (n *network) answer(respond func(packet []byte) [][]byte) {
	n.t.Helper()
	fd := -1
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread is of no use to others
		ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", n.pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(ns)
			err = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		if err == nil {
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})))
		}
		if err != nil {
			n.t.Errorf("listening on the link: %v", err)
		}
	})
	wg.Wait()
	if fd < 0 {
		n.t.FailNow()
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	ended := n.t.Context()
	wg.Go(func() {
		defer unix.Close(fd)
		buffer := make([]byte, 4096)
		for ended.Err() == nil {
			size, from, err := unix.Recvfrom(fd, buffer, 0)
			link, ok := from.(*unix.SockaddrLinklayer)
			if err != nil || !ok || link.Pkttype == unix.PACKET_OUTGOING || size < 20 {
				continue
			}
			for _, packet := range respond(buffer[:size]) {
				to := *link
				to.Protocol = binary.NativeEndian.Uint16([]byte{0x08, 0x00})
				if packet[0]>>4 == 6 {
					to.Protocol = binary.NativeEndian.Uint16([]byte{0x86, 0xdd})
				}
				if err := unix.Sendto(fd, packet, 0, &to); err != nil {
					n.t.Errorf("answering: %v", err)
				}
			}
		}
	})
	n.t.Cleanup(wg.Wait)
}

// ends returns where an IP packet comes from and goes to, and what it carries.
func ends(packet []byte) (from, to netip.Addr, proto byte, data []byte) {
	if packet[0]>>4 == 6 {
		from, _ = netip.AddrFromSlice(packet[8:24])
		to, _ = netip.AddrFromSlice(packet[24:40])
		return from, to, packet[6], packet[40:]
	}
	from, _ = netip.AddrFromSlice(packet[12:16])
	to, _ = netip.AddrFromSlice(packet[16:20])
	return from, to, packet[9], packet[20:]
}

// datagram returns an IP packet that carries an ICMP message, with the right
// checksum.
func datagram(from, to netip.Addr, icmp []byte) []byte {
	icmp = bytes.Clone(icmp)
	icmp[2], icmp[3] = 0, 0
	if from.Is4() {
		binary.BigEndian.PutUint16(icmp[2:], checksum(icmp))
		h := make([]byte, 20)
		h[0], h[8], h[9] = 0x45, 64, unix.IPPROTO_ICMP
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(icmp)))
		copy(h[12:], from.AsSlice())
		copy(h[16:], to.AsSlice())
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return append(h, icmp...)
	}
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, 0, byte(len(icmp)>>8), byte(len(icmp)), 0, 0, 0, unix.IPPROTO_ICMPV6)
	binary.BigEndian.PutUint16(icmp[2:], checksum(append(pseudo, icmp...)))
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, unix.IPPROTO_ICMPV6, 64
	binary.BigEndian.PutUint16(h[4:], uint16(len(icmp)))
	copy(h[8:], from.AsSlice())
	copy(h[24:], to.AsSlice())
	return append(h, icmp...)
}
