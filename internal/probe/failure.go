package probe

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Kind is the kind of a failure.
type Kind string

// The kinds of failure. All but the last two are about the target and count
// towards a dead verdict; KindPolicy and KindLocal never do.
const (
	KindDNS         Kind = "dns"         // the name does not exist
	KindRefused     Kind = "refused"     // the target refused the connection
	KindTimeout     Kind = "timeout"     // no answer, or not all of it, in time
	KindUnreachable Kind = "unreachable" // the network says there is no way to the target
	KindBroken      Kind = "broken"      // the connection broke before the answer was complete
	KindTLS         Kind = "tls"         // no TLS session that can be trusted
	KindHTTP        Kind = "http"        // the answer is not HTTP, or breaks its limits
	KindStatus      Kind = "status"      // the HTTP status is outside the healthy range
	KindBody        Kind = "body"        // the HTTP body does not pass the matches
	KindPolicy      Kind = "policy"      // the operator permits no connection to it; says nothing about the target
	KindLocal       Kind = "local"       // trouble of this host; says nothing about the target
)

// Error is the reason why an attempt was down, in words for an operator.
type Error struct {
	Kind   Kind
	Reason string // reads on its own: "connection refused"
	Err    error  // the cause that Reason was made from; may be nil
	Stack  string // of a panic, for whoever mends it; else empty

	lasting bool // another attempt would have the same result
}

func (e *Error) Error() string { return e.Reason }

func (e *Error) Unwrap() error { return e.Err }

// failure returns an *Error with a formatted reason and no cause.
func failure(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: fmt.Sprintf(format, args...)}
}

// isLocal reports whether err is this host's own trouble.
func isLocal(err error) bool { return kindOf(err) == KindLocal }

// isLasting reports whether err is none of the target's and another attempt would
// have the same result: what only a restart, or another policy, can end.
func isLasting(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.lasting
}

// isTimeout reports whether err is that there was no answer in time.
func isTimeout(err error) bool { return kindOf(err) == KindTimeout }

// kindOf returns the kind of a failure, or "" if err is none.
func kindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// noAnswer returns the failure of an attempt that used up its limit.
func noAnswer(limit time.Duration) *Error {
	return failure(KindTimeout, "no answer within %v", rounded(limit))
}

// rounded returns d with three or four digits, for a log line.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond)
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// localTrouble has, for each errno that is about this host, the shortage in words
// and its remedy. ENETUNREACH, EHOSTUNREACH and EINVAL belong here only when the
// system call itself returns them: then they come from the host's own routing
// table (none, or an entry that says so) and not from a router's ICMP message.
var localTrouble = map[syscall.Errno]string{
	syscall.EMFILE:        "this process has too many open files (raise its limit: LimitNOFILE= or ulimit -n)",
	syscall.ENFILE:        "this host has too many open files (raise the sysctl fs.file-max)",
	syscall.ENOBUFS:       "this host has no buffer space left (free memory, or raise net.core.wmem_max and the device's queue)",
	syscall.ENOMEM:        "this host is out of memory (free some, or raise the memory limit of this service)",
	syscall.EPERM:         "this host does not permit it (look at its outgoing firewall rules and the sandbox of this service)",
	syscall.EACCES:        "this host does not permit it (look at its prohibit routes and the sandbox of this service)",
	syscall.EADDRNOTAVAIL: "this host has no local address or port for it (is the address family up? else widen the sysctl net.ipv4.ip_local_port_range)",
	syscall.EADDRINUSE:    "this host has no local port left for it (widen the sysctl net.ipv4.ip_local_port_range)",
	syscall.EAGAIN:        "this host has no local port or route cache entry left for it (widen the sysctl net.ipv4.ip_local_port_range)",
	syscall.EAFNOSUPPORT:  "this host does not speak this address family (is IPv6 disabled?)",
	syscall.ENETUNREACH:   "this host has no route to it (network is unreachable)",
	syscall.EHOSTUNREACH:  "this host has no route to it (an unreachable route?)",
	syscall.EINVAL:        "this host's routing table drops it (a blackhole route?)",
}

// isShortage reports whether errno is that this host has too little of something, which
// nobody on the network can say.
func isShortage(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENOBUFS, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		return true
	}
	return false
}

// fromSyscall turns the error of a system call made for an attempt into a
// failure: local where the errno is about this host, else about the target.
func fromSyscall(call string, err error) *Error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return &Error{Kind: KindLocal, Reason: call + ": " + err.Error(), Err: err}
	}
	if trouble, ok := localTrouble[errno]; ok {
		return &Error{Kind: KindLocal, Reason: trouble, Err: err}
	}
	if e := fromNetwork(errno); e != nil {
		return e
	}
	return &Error{Kind: KindLocal, Reason: call + ": " + err.Error(), Err: err}
}

// noZone is the reason why a link-local address without a zone leads nowhere.
const noZone = "a link-local address needs a zone, as in fe80::1%eth0"

// prohibited is the reason of an ICMP message of the kind "administratively
// prohibited".
const prohibited = "prohibited by a firewall or router"

// fromNetwork turns an errno that the network delivered (the target's refusal,
// a router's ICMP message) into a failure of the target, and returns nil for
// any other.
func fromNetwork(errno syscall.Errno) *Error {
	switch errno {
	case syscall.ECONNREFUSED:
		return &Error{Kind: KindRefused, Reason: "connection refused", Err: errno}
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE:
		return &Error{Kind: KindBroken, Reason: "connection reset by the target", Err: errno}
	case syscall.ETIMEDOUT:
		return &Error{Kind: KindTimeout, Reason: "no answer (connection timed out)", Err: errno}
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENONET:
		return &Error{Kind: KindUnreachable, Reason: "host unreachable", Err: errno}
	case syscall.ENETUNREACH:
		return &Error{Kind: KindUnreachable, Reason: "network unreachable", Err: errno}
	case syscall.ENOPROTOOPT, syscall.EPROTO:
		return &Error{Kind: KindRefused, Reason: "protocol unreachable", Err: errno}
	case syscall.EOPNOTSUPP:
		return &Error{Kind: KindUnreachable, Reason: "source route failed", Err: errno}
	case syscall.EMSGSIZE:
		return &Error{Kind: KindUnreachable, Reason: "packet too big for the way to it", Err: errno}
	}
	return nil
}

// fromSocket turns an error that a socket reported after connect had returned into
// a failure: it came from the network, whatever its number, unless it is a shortage
// that only this host can have. EACCES and EPERM are no exception: IPv6 reports so
// that a firewall or router prohibits the connection.
func fromSocket(err error) *Error {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return fromSyscall("connecting", err)
	}
	if e := fromNetwork(errno); e != nil {
		return e
	}
	switch errno {
	case syscall.EACCES, syscall.EPERM:
		return &Error{Kind: KindUnreachable, Reason: prohibited, Err: errno}
	case syscall.EBADF:
		return fromSyscall("connecting", err)
	}
	if isShortage(errno) {
		return fromSyscall("connecting", err)
	}
	return &Error{Kind: KindUnreachable, Reason: "the network reports: " + errno.Error(), Err: errno}
}
