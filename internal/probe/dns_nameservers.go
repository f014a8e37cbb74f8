package probe

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// errNoName is the authoritative answer that a name does not exist, or has no
// address.
var errNoName = errors.New("no such host")

// serverError says why no nameserver had an answer that can be used.
type serverError struct {
	reason   string
	answered bool   // one said something, if only that it failed
	short    *Error // what this host has too little of to ask; nil if that is not the reason
}

func (e *serverError) Error() string { return e.reason }

// nameserverShare bounds the wait for one nameserver before the next is asked
// beside it: an answer that is in no cache may take a second.
const nameserverShare = time.Second

// share returns the wait for one nameserver before the next is asked, so that a
// look-up of length within reaches the last one well before its end.
func (c *resolvConf) share(within time.Duration) time.Duration {
	tries := time.Duration(len(c.servers) * c.attempts)
	return max(time.Millisecond, min(nameserverShare, c.timeout, within/tries))
}

// nameservers asks those of a resolvConf.
type nameservers struct {
	exchange func(ctx context.Context, server netip.AddrPort, q dnsQuestion, wait exchangeTiming) (dnsReply, error)
	notify   func(subject, text string) // takes hints for the operator
}

// ask asks one nameserver after another, the next one as soon as one has failed
// or used up its share of within; those that were asked before may still answer.
// The first answer counts. A truncated one counts when no other comes shortly
// after. No exchange outlives the call. The error is a *serverError, or the
// cause of ctx's end if there is no answer yet.
func (s *nameservers) ask(ctx context.Context, c *resolvConf, q dnsQuestion, within time.Duration) (dnsReply, error) {
	type outcome struct {
		server int
		reply  dnsReply
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	share := c.share(within)
	wait := exchangeTiming{resend: share * time.Duration(len(c.servers)), tcp: within / 2}
	outcomes := make(chan outcome)
	next, running := 0, 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			<-outcomes
		}
	}()
	start := func() {
		i := next
		next, running = next+1, running+1
		go func() {
			r, err := s.exchangeSafely(ctx, c.servers[i], q, wait)
			outcomes <- outcome{i, r, err}
		}()
	}
	failures := make([]error, len(c.servers))
	var partial *dnsReply
	var enough <-chan time.Time // when the partial reply is waited with no longer
	start()
	for running > 0 {
		var turn <-chan time.Time
		if next < len(c.servers) {
			turn = time.After(share)
		}
		select {
		case o := <-outcomes:
			running--
			switch {
			case o.err == nil && !o.reply.truncated:
				s.warnSkipped(c.servers[:o.server], failures)
				return o.reply, nil
			case o.err == nil && partial == nil:
				partial, enough = &o.reply, time.After(min(share, within/4)) // TCP has had its half
			}
			failures[o.server] = o.err
			if next < len(c.servers) && ctx.Err() == nil {
				start()
			}
		case <-turn:
			start()
		case <-enough:
			return *partial, nil
		}
	}
	if partial != nil {
		return *partial, nil
	}
	return dnsReply{}, s.joinFailures(ctx, c.servers, failures)
}

// exchangeSafely is exchange with panics turned into errors of this nameserver: an
// answer that trips up a parser must not end the daemon.
func (s *nameservers) exchangeSafely(ctx context.Context, server netip.AddrPort, q dnsQuestion, wait exchangeTiming) (r dnsReply, err error) {
	defer recoverPanic(&err)
	return s.exchange(ctx, server, q, wait)
}

// warnSkipped warns of the nameservers before the one that answered.
func (s *nameservers) warnSkipped(servers []netip.AddrPort, failures []error) {
	for i, server := range servers {
		what := "gave no answer in time"
		if failures[i] != nil {
			what = failures[i].Error()
		}
		s.notify("nameserver "+serverName(server), what+": the next one in /etc/resolv.conf was asked")
	}
}

// joinFailures returns one failure for those of all nameservers.
func (s *nameservers) joinFailures(ctx context.Context, servers []netip.AddrPort, failures []error) error {
	var reasons []string
	var short *Error
	answered := false
	for i, err := range failures {
		_, bad := err.(answerError)
		answered = answered || bad
		if errno, ok := errors.AsType[syscall.Errno](err); ok && isShortage(errno) {
			short = fromSyscall("looking up a name", errno)
		}
		if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Cause(ctx))) {
			reasons = append(reasons, err.Error()+" ("+serverName(servers[i])+")")
		}
	}
	if len(reasons) == 0 {
		return context.Cause(ctx)
	}
	return &serverError{reason: strings.Join(reasons, ", "), answered: answered, short: short}
}

// serverName returns the address of a nameserver, with the port where that is
// not the usual one.
func serverName(server netip.AddrPort) string {
	if server.Port() == 53 {
		return server.Addr().String()
	}
	return server.String()
}
