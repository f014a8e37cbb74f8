// Package service tells whatever runs the daemon, systemd or a container
// engine, how it is.
//
// systemd is told when the daemon runs, what it does, and when it ends
// ([Notify]), and that it makes progress ([FeedWatchdog]); a container engine
// asks whether it is alive ([ListenHealth], [CheckHealth]).
package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// State is what a service manager can be told (sd_notify(3)).
type State string

// The states of a service.
const (
	Ready    State = daemon.SdNotifyReady    // it has started, or reloaded
	Stopping State = daemon.SdNotifyStopping // it ends in order
	Progress State = daemon.SdNotifyWatchdog // it makes progress
)

// Reloading returns the state of a service that reads its configuration again.
// The time tells the manager to which request it belongs; Ready must follow.
func Reloading() State {
	return State(strings.TrimSpace(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec()))
}

// Status returns the state that shows text, one line for people.
func Status(text string) State {
	return State("STATUS=" + strings.Map(func(r rune) rune {
		if r < ' ' { // a line feed would begin another state
			return ' '
		}
		return r
	}, text))
}

// notifyTimeout is how long a service manager may take to make room for a
// datagram. It answers nothing, so there is nothing else to wait for.
const notifyTimeout = time.Second

// Notify tells the service manager that NOTIFY_SOCKET of this process's
// environment names. Without one it does nothing. The library that knows the
// states would wait for as long as the socket is full; this has a deadline.
func Notify(s State) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(notifyTimeout))
	_, err = conn.Write([]byte(s))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("NOTIFY_SOCKET is full for %v, want a service manager that reads it", notifyTimeout)
	}
	return err
}
