package duty

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	claimTimeout = time.Second // for an answer to a probe: hosts in the same network take milliseconds
	claimLength  = 256         // bytes that are read of a packet
	maxClaims    = 64          // that are read after a probe; more are no answers of honest hosts
	maxProbed    = 8           // devices
)

// noARPError says that a device is none on which other hosts can be asked.
type noARPError struct{ device, why string }

func (e *noARPError) Error() string { return fmt.Sprintf("%s %s", e.device, e.why) }

// askOthers asks on devices who else has addr, once. It returns the first other host
// that answers, nil if none does. The error says why none could be asked.
func askOthers(ctx context.Context, addr netip.Addr, devices []uint32) (net.HardwareAddr, error) {
	var failed error
	asked := false
	for _, index := range devices[:min(len(devices), maxProbed)] {
		device, err := net.InterfaceByIndex(int(index))
		if err == nil {
			var other net.HardwareAddr
			if other, err = askOn(ctx, addr, device); other != nil {
				return other, nil
			}
		}
		asked = asked || err == nil
		failed = errors.Join(failed, err)
	}
	if asked {
		return nil, nil
	}
	return nil, failed
}

// askOn is askOthers on one device.
func askOn(ctx context.Context, addr netip.Addr, device *net.Interface) (net.HardwareAddr, error) {
	switch {
	case device.Flags&(net.FlagLoopback|net.FlagPointToPoint) != 0 || len(device.HardwareAddr) != len(mac{}):
		return nil, &noARPError{device.Name, "is no Ethernet, so no other host can be asked there"}
	case device.Flags&net.FlagRunning == 0:
		return nil, fmt.Errorf("%s is not connected", device.Name)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch err {
	case nil:
	case unix.EPERM, unix.EACCES:
		return nil, errors.New("CAP_NET_RAW is missing (AmbientCapabilities=CAP_NET_RAW in a unit of systemd, --cap-add NET_RAW and root in a container)")
	case unix.EAFNOSUPPORT:
		return nil, errors.New("no packet socket may be opened (RestrictAddressFamilies=AF_PACKET in a unit of systemd permits it)")
	default:
		return nil, fmt.Errorf("opening a packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "packet")
	defer file.Close()
	packet, to, err := question(fd, addr, device)
	if err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, packet, 0, to); err != nil {
		return nil, fmt.Errorf("asking on %s who else has the address: %w", device.Name, err)
	}
	return listen(ctx, file, addr)
}

// question prepares the socket for the answers, and returns the question and whom it is
// for.
func question(fd int, addr netip.Addr, device *net.Interface) ([]byte, *unix.SockaddrLinklayer, error) {
	own := mac(device.HardwareAddr)
	request, err := unix.NewIfreq(device.Name)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("looking at %s: %w", device.Name, err)
	}
	if request.Uint16()&unix.IFF_NOARP != 0 {
		return nil, nil, &noARPError{device.Name, "has no ARP, so no other host can be asked there"}
	}
	to := &unix.SockaddrLinklayer{Ifindex: device.Index, Halen: uint8(len(own))}
	packet, group := arpProbe(addr, own), mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	protocol := uint16(unix.ETH_P_ARP)
	if addr.Is6() {
		from, err := linkLocal(device, addr)
		if err != nil {
			return nil, nil, err
		}
		packet, group = solicitation(addr, from, own)
		protocol = unix.ETH_P_IPV6
	}
	to.Protocol = binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	copy(to.Addr[:], group[:])
	program := claimFilter(addr)
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device.Index, Protocol: to.Protocol})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listening on %s: %w", device.Name, err)
	}
	return packet, to, nil
}

// linkLocal returns a link-local address of device other than addr: who asks for addr
// must not say that it has it.
func linkLocal(device *net.Interface, addr netip.Addr) (netip.Addr, error) {
	addrs, err := device.Addrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reading the addresses of %s: %w", device.Name, err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() && p.Addr() != addr {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no link-local address to ask from", device.Name)
}

// listen returns the first other host that says that it has addr, nil if none does.
func listen(ctx context.Context, file *os.File, addr netip.Addr) (net.HardwareAddr, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	if err := file.SetReadDeadline(time.Now().Add(claimTimeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buffer := make([]byte, claimLength)
	for range maxClaims {
		var n int
		var from unix.Sockaddr
		var failed error
		receive := func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), buffer, 0)
			return failed != unix.EAGAIN
		}
		err := raw.Read(receive)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// An answer may have come while this process did not run.
			err = raw.Control(func(fd uintptr) { receive(fd) })
		}
		switch err := errors.Join(err, failed); {
		case errors.Is(err, unix.EAGAIN):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("listening who else has the address: %w", err)
		}
		if other, is := claimOf(buffer[:n], from, addr); is {
			others, err := isOther(other)
			if others || err != nil {
				return net.HardwareAddr(other[:]), err
			}
		}
	}
	return nil, nil
}

// claimOf returns the host that says in a packet that it has addr.
func claimOf(packet []byte, from unix.Sockaddr, addr netip.Addr) (mac, bool) {
	link, is := from.(*unix.SockaddrLinklayer)
	if !is || link.Halen != uint8(len(mac{})) {
		return mac{}, false
	}
	switch link.Pkttype {
	case unix.PACKET_HOST, unix.PACKET_BROADCAST, unix.PACKET_MULTICAST:
	default: // to another host, or from this one
		return mac{}, false
	}
	if addr.Is4() {
		return arpClaim(packet, addr)
	}
	return advertClaim(packet, addr, mac(link.Addr[:6]))
}

// isOther reports whether no device of this host has that MAC address. Of two devices
// in one network, both answer for all addresses of the host.
func isOther(m mac) (bool, error) {
	devices, err := net.Interfaces()
	if err != nil {
		return false, fmt.Errorf("reading the devices of this host: %w", err)
	}
	for _, d := range devices {
		if string(d.HardwareAddr) == string(m[:]) {
			return false, nil
		}
	}
	return true, nil
}
