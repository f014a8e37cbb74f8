package duty

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Times of the probes that look for another host with the address of this one. The
// address may have moved a moment ago, so that the other host still has it: no single
// answer counts, nor a single silence afterwards.
const (
	conflictConfirmations = 3 // probes in a row, as many as a host sends before it uses an address (RFC 5227)

	conflictConfirmPause = 2 * time.Second // while fewer have said so
	conflictPause        = 10 * time.Second
)

// conflict is whether another host has the address of this one, too, as far as probes
// say. The zero value is that nobody was asked.
//
// A hostile host in the same network can answer for any address. Then deaths are left
// to the page, which shows them later: that host could do worse to the address itself.
type conflict struct {
	found    bool
	known    bool // at least one probe said what found says, or nobody can be asked
	contrary int  // probes in a row that say the opposite
}

// probed takes the outcome of a probe.
func (c *conflict) probed(answered bool) {
	if answered != c.found {
		if c.contrary++; c.contrary < conflictConfirmations {
			return
		}
	}
	c.found, c.known, c.contrary = answered, true, 0
}

// pause returns the wait before the next probe.
func (c *conflict) pause() time.Duration {
	if c.contrary > 0 {
		return conflictConfirmPause
	}
	return conflictPause
}

// seekConflict probes for another host with the address while this one has it, until
// ctx is done.
func (a *address) seekConflict(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-a.moved: // before where is asked, which knows it
		default:
		}
		var again <-chan time.Time
		if devices, move := a.where(); len(devices) > 0 {
			other, err := a.ask(ctx, a.addr, devices)
			if ctx.Err() != nil {
				return
			}
			again = time.After(a.asked(move, other, err))
		}
		select {
		case <-ctx.Done():
		case <-a.moved:
		case <-again:
		}
	}
}

// where returns the devices that have the address, and the number of its last move.
func (a *address) where() ([]uint32, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.present.devices, a.moves
}

// asked takes the outcome of a probe: the host that has the address, too, or nil; or
// why it cannot be known. It returns the wait before the next probe. A probe from
// before the last move counts for nothing.
func (a *address) asked(move int, other net.HardwareAddr, err error) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if move != a.moves {
		return 0
	}
	if err != nil {
		// What was found before stands, as far as it can be known at all.
		if _, never := errors.AsType[*noARPError](err); never {
			a.conflict = conflict{}
		}
		a.conflict.known = true
		a.uncheckable(err)
		a.settle()
		return conflictPause
	}
	a.state.Unchecked = ""
	if other != nil {
		a.other = other
	}
	a.conflict.probed(other != nil)
	a.settle()
	return a.conflict.pause()
}

// uncheckable notes why it cannot be known whether another host has the address, too.
func (a *address) uncheckable(err error) {
	if why := err.Error(); a.state.Unchecked != why {
		a.state.Unchecked = why
		a.log.WithError(err).Info("it is not checked whether another host has the address, too")
	}
}

// AddressCheck is what can be known of an address at one moment.
type AddressCheck struct {
	Here      bool   // this host has it, and may use it
	Tentative bool   // this host has it, and may not use it yet: the kernel tests whether another host has it
	Conflict  string // who else has it, in words; empty if nobody is known to
	Unchecked error  // why it cannot be known whether another host has it, too
}

// CheckAddress looks where addr is, as the duty of [NewAddress] does. It takes some
// seconds if another host has it, too.
func CheckAddress(ctx context.Context, addr netip.Addr) (AddressCheck, error) {
	addr = addr.Unmap().WithZone("")
	var found presence
	looking, seen := context.WithCancel(ctx)
	defer seen()
	err := watchAddress(looking, addr, func(p presence) { found = p; seen() })
	if ctx.Err() != nil || looking.Err() == nil {
		return AddressCheck{}, err
	}
	check := AddressCheck{Here: len(found.devices) > 0}
	if !check.Here {
		if check.Tentative = found.tentative && !found.duplicate; found.duplicate {
			check.Conflict = duplicateText(addr)
		}
		return check, nil
	}
	var c conflict
	for {
		other, err := askOthers(ctx, addr, found.devices)
		switch {
		case ctx.Err() != nil:
			return AddressCheck{}, ctx.Err()
		case err != nil:
			check.Unchecked = err
			return check, nil
		case other == nil:
			return check, nil
		}
		if c.probed(true); c.found {
			check.Conflict = conflictText(addr, other)
			return check, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.pause()):
		}
	}
}

// conflictText says that another host has addr, too.
func conflictText(addr netip.Addr, other net.HardwareAddr) string {
	return fmt.Sprintf("another host has %v, too (MAC address %v)", addr, other)
}

// duplicateText says that the kernel has found addr on another host.
func duplicateText(addr netip.Addr) string {
	return fmt.Sprintf("another host has %v, too, as this host's kernel found", addr)
}

// tentativeText says that the kernel tests whether another host has addr.
func tentativeText(addr netip.Addr) string {
	return fmt.Sprintf("this host has %v, but does not use it yet: its kernel tests whether another host has it, too (tentative)", addr)
}
