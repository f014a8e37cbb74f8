package duty

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// message returns a netlink message about an address, with attributes as they are.
func message(kind, flags uint16, sequence uint32, attributes ...byte) []byte {
	b := make([]byte, unix.NLMSG_HDRLEN+unix.SizeofIfAddrmsg, 64)
	b = append(b, attributes...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.NativeEndian.PutUint32(b[8:], sequence)
	return b
}

// TestAttributeWithoutPadding: the last one may end with its message.
func TestAttributeWithoutPadding(t *testing.T) {
	here := false
	w := &addressWatch{addr: netip.MustParseAddr("192.0.2.7"), flags: make(map[place]uint32), has: func(p presence) { here = len(p.devices) > 0 }}
	data := message(unix.RTM_NEWADDR, 0, 0, 8, 0, byte(unix.IFA_LOCAL), 0, 192, 0, 2, 7, 5, 0, byte(unix.IFA_LABEL), 0, 'l')
	if err := w.take(append(data, 0, 0, 0)); err != nil || !here {
		t.Errorf("got the error %v and the address here: %v, want it here", err, here)
	}
}

// FuzzNetlink holds whatever comes from a netlink socket to this: it is an error or not,
// and the address is said to be here only after a message that says so.
func FuzzNetlink(f *testing.F) {
	local := []byte{8, 0, byte(unix.IFA_LOCAL), 0, 192, 0, 2, 7}
	f.Add(message(unix.RTM_NEWADDR, 0, 1, local...))
	f.Add(append(message(unix.RTM_NEWADDR, 0, 1, local...), message(unix.NLMSG_DONE, 0, 1)...))
	f.Add(append(message(unix.RTM_DELADDR, 0, 0, local...), message(unix.NLMSG_ERROR, 0, 1, 0xff, 0xff, 0xff, 0xff)...))
	f.Add(message(unix.RTM_NEWADDR, unix.NLM_F_DUMP_INTR, 1, 8, 0, byte(unix.IFA_FLAGS), 0, 0x40, 0, 0, 0))
	f.Add(message(unix.RTM_NEWADDR, 0, 1, 5, 0, byte(unix.IFA_LOCAL), 0, 1))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		here := false
		w := &addressWatch{addr: netip.MustParseAddr("192.0.2.7"), sequence: 1, asked: true, flags: make(map[place]uint32), has: func(p presence) { here = len(p.devices) > 0 }}
		err := w.take(data)
		if here && (len(w.flags) == 0 || err == nil && (w.asked || w.lost)) {
			t.Errorf("got the address said to be here of %x", data)
		}
	})
}
