// Package service tells whatever runs the daemon, systemd or a container
// engine, how it is.
//
// systemd is told when the daemon runs and when it ends ([Notify]); a container
// engine asks whether it is alive ([ListenHealth], [CheckHealth]).
package service

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// State is what a service manager can be told (sd_notify(3)).
type State string

// The states of a service.
const (
	Ready    State = daemon.SdNotifyReady    // it has started
	Stopping State = daemon.SdNotifyStopping // it ends in order
)

// notifyPatience is how long a service manager may take to make room for a
// datagram. It answers nothing, so there is nothing else to wait for.
const notifyPatience = time.Second

// Notify tells the service manager that NOTIFY_SOCKET of this process's
// environment names. Without one it does nothing.
func Notify(s State) error {
	told := make(chan error, 1)
	// The library sets no deadline: should the socket be full for good, this
	// goroutine alone waits on, and the daemon works.
	go func() {
		_, err := daemon.SdNotify(false, string(s))
		told <- err
	}()
	select {
	case err := <-told:
		return err
	case <-time.After(notifyPatience):
		return fmt.Errorf("NOTIFY_SOCKET is full for %v, want a service manager that reads it", notifyPatience)
	}
}
