package duty

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	netlinkBuffer   = 64 << 10        // bytes: the kernel's dumps come in parts of 32 KiB at most
	netlinkPatience = 5 * time.Second // for an answer of the kernel
)

// presence is where this host has an address.
type presence struct {
	devices   []uint32 // where it may be used, by number; none: it is not here
	duplicate bool     // on some device the kernel keeps it from being used, since another host has it
	tentative bool     // on some device the kernel still tests whether another host has it
}

func (p presence) equal(other presence) bool {
	return p.duplicate == other.duplicate && p.tentative == other.tentative && slices.Equal(p.devices, other.devices)
}

// watchAddress tells has where this host has addr, at first and whenever that has
// changed, until ctx is done or the kernel gives no more events.
func watchAddress(ctx context.Context, addr netip.Addr, has func(presence)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening a netlink socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	defer file.Close()
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR}); err != nil {
		return fmt.Errorf("subscribing to the events of addresses: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("asking for the number of a netlink socket: %w", err)
	}
	own, ok := name.(*unix.SockaddrNetlink)
	if !ok {
		return errNoEvents
	}
	stop := context.AfterFunc(ctx, func() { file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	w := &addressWatch{addr: addr, file: file, port: own.Pid, has: has}
	if err := w.ask(); err != nil {
		return err
	}
	buffer := make([]byte, netlinkBuffer)
	for ctx.Err() == nil {
		n, err := w.read(ctx, buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// Events were lost, so nothing that is known is sure.
			w.lost = true
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("reading the events of addresses: %w", err)
		case n == 0:
			return errNoEvents
		default:
			if err := w.take(buffer[:n]); err != nil {
				return err
			}
		}
		if w.lost && !w.asked {
			if err := w.ask(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// addressWatch is what is known of one address of this host.
type addressWatch struct {
	addr netip.Addr
	file *os.File
	port uint32 // of file; answers to others come with theirs
	has  func(presence)

	flags map[place]uint32 // of the address, wherever it is
	said  bool             // has was called
	told  presence         // by the last call

	// The kernel lists all addresses on request, and the events go on meanwhile.
	sequence uint32
	asked    bool // a list is on its way
	lost     bool // the list on its way is not enough: another is needed
}

// place is where an address can be assigned, once.
type place struct {
	device uint32
	bits   uint8 // of its network
}

// ask asks for the list of all addresses.
func (w *addressWatch) ask() error {
	w.sequence++
	request := make([]byte, unix.NLMSG_HDRLEN+unix.SizeofIfAddrmsg)
	*(*unix.NlMsghdr)(unsafe.Pointer(&request[0])) = unix.NlMsghdr{
		Len: uint32(len(request)), Type: unix.RTM_GETADDR, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: w.sequence,
	}
	request[unix.NLMSG_HDRLEN] = unix.AF_INET6
	if w.addr.Is4() {
		request[unix.NLMSG_HDRLEN] = unix.AF_INET
	}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return failed != unix.EAGAIN
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("asking for the addresses of this host: %w", err)
	}
	w.flags, w.asked, w.lost = make(map[place]uint32), true, false
	return nil
}

// read reads the kernel's next messages. It waits for events without a time-out, and
// for the answer to a request netlinkPatience.
func (w *addressWatch) read(ctx context.Context, buffer []byte) (int, error) {
	var limit time.Time
	if w.asked {
		limit = time.Now().Add(netlinkPatience)
	}
	if err := w.file.SetReadDeadline(limit); err != nil {
		return 0, err
	}
	if ctx.Err() != nil { // the limit may have taken the place of the one that ends it
		return 0, ctx.Err()
	}
	return w.file.Read(buffer)
}

// take takes messages of the kernel.
func (w *addressWatch) take(data []byte) error {
	messages, err := syscall.ParseNetlinkMessage(data)
	if err != nil {
		return fmt.Errorf("the kernel's events of addresses cannot be read: %w", err)
	}
	for _, m := range messages {
		answer := w.asked && m.Header.Seq == w.sequence && m.Header.Pid == w.port
		switch m.Header.Type {
		case unix.NLMSG_DONE:
			if answer {
				w.asked = false
			}
		case unix.NLMSG_ERROR:
			if answer && len(m.Data) >= 4 {
				if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
					return fmt.Errorf("asking for the addresses of this host: %w", unix.Errno(-code))
				}
			}
		case unix.RTM_NEWADDR, unix.RTM_DELADDR:
			w.note(m, answer)
		}
		if answer && m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
			w.lost = true // the addresses changed while the kernel listed them
		}
	}
	if !w.asked && !w.lost {
		w.say()
	}
	return nil
}

// note takes a message about one address, of the list or of a change.
func (w *addressWatch) note(m syscall.NetlinkMessage, listed bool) {
	at, addr, flags, ok := readAddress(m)
	if !ok || addr != w.addr {
		return
	}
	if w.asked && !listed {
		w.lost = true // the list may have been made before or after
	}
	if m.Header.Type == unix.RTM_DELADDR {
		delete(w.flags, at)
		return
	}
	w.flags[at] = flags
}

// say tells where the address is, if that has changed.
func (w *addressWatch) say() {
	var p presence
	for at, flags := range w.flags {
		switch {
		case flags&unix.IFA_F_DADFAILED != 0:
			p.duplicate = true
		case flags&unix.IFA_F_TENTATIVE != 0:
			p.tentative = true
		default:
			p.devices = append(p.devices, at.device)
		}
	}
	slices.Sort(p.devices)
	p.devices = slices.Compact(p.devices)
	if w.said && p.equal(w.told) {
		return
	}
	w.said, w.told = true, p
	w.has(p)
}

// readAddress reads a message about an address; false if it cannot be read.
func readAddress(m syscall.NetlinkMessage) (at place, addr netip.Addr, flags uint32, ok bool) {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return at, addr, 0, false
	}
	head := (*unix.IfAddrmsg)(unsafe.Pointer(&m.Data[0]))
	flags = uint32(head.Flags)
	var local, remote netip.Addr
	// Not by syscall.ParseNetlinkRouteAttr, which panics at an attribute without padding.
	for rest := m.Data[unix.SizeofIfAddrmsg:]; len(rest) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			return at, addr, 0, false
		}
		switch value := rest[unix.SizeofRtAttr:size]; binary.NativeEndian.Uint16(rest[2:]) {
		case unix.IFA_LOCAL: // of a link between two, the end that is here
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(value)
		case unix.IFA_FLAGS:
			if len(value) >= 4 {
				flags = binary.NativeEndian.Uint32(value)
			}
		}
		rest = rest[min(len(rest), (size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	if addr = local; !addr.IsValid() {
		addr = remote
	}
	return place{head.Index, head.Prefixlen}, addr, flags, addr.IsValid()
}
