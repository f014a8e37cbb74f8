//go:build faults

package faults

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// brokenAPI returns what makes the Status API answer so.
func brokenAPI(aim func(sandbox.Request) bool, f sandbox.Fault) func(*lab) func() {
	return func(l *lab) func() { return l.api.Break(aim, f) }
}

// atTheAPI returns what a rule of the firewall in front of the Status API does.
func atTheAPI(verdict string) func(*lab) func() {
	return func(l *lab) func() {
		return filter(l.t, "input", "ip daddr "+farAddress+" meta l4proto tcp "+verdict)
	}
}

func TestStatusAPI(t *testing.T) {
	t.Parallel()
	page := []byte("<html>502 Bad Gateway</html>")
	for _, long := range []time.Duration{8 * time.Second, time.Minute} {
		var faults []fault
		add := func(name string, begin func(*lab) func()) {
			faults = append(faults, fault{name: fmt.Sprintf("%s for %v", name, long), lasts: long, begin: begin})
		}
		add("refuses connections", atTheAPI("reject with tcp reset"))
		add("answers nothing at all", atTheAPI("drop"))
		add("ends connections", brokenAPI(sandbox.All, sandbox.Disconnect()))
		add("hangs", brokenAPI(sandbox.All, sandbox.Hang()))
		add("hangs in the head", brokenAPI(sandbox.All, sandbox.HangInHead()))
		add("hangs in the body", brokenAPI(sandbox.All, sandbox.HangInBody()))
		add("hangs after an answer", brokenAPI(sandbox.All, sandbox.HangAfter()))
		add("hangs after a map", brokenAPI(sandbox.Maps, sandbox.HangAfter()))
		for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusInternalServerError} {
			add(fmt.Sprintf("answers %d", code), brokenAPI(sandbox.All, sandbox.Refuse(code, "")))
		}
		add("answers 429 with Retry-After", brokenAPI(sandbox.All, sandbox.Refuse(http.StatusTooManyRequests, "3600")))
		add("answers 503 with Retry-After", brokenAPI(sandbox.All, sandbox.Refuse(http.StatusServiceUnavailable, "3600")))
		add("has a proxy that says 502", brokenAPI(sandbox.All, sandbox.Answer(http.StatusBadGateway, "text/html", page)))
		add("has a proxy that says 200", brokenAPI(sandbox.All, sandbox.Answer(http.StatusOK, "text/html", page)))
		add("redirects", brokenAPI(sandbox.All, sandbox.Redirect(http.StatusFound, "http://10.9.1.1/")))
		add("fails maps alone", brokenAPI(sandbox.Maps, sandbox.Refuse(http.StatusInternalServerError, "")))
		add("sends half a map", brokenAPI(sandbox.Maps, sandbox.Answer(http.StatusOK, "application/json", []byte(`{"data":{"date":1,"serv`))))
		try(t, faults)
	}
}

// TestStatusAPIHangsInTheHandshake of TLS, as one does that has no worker left.
func TestStatusAPIHangsInTheHandshake(t *testing.T) {
	t.Parallel()
	var faults []fault
	for _, long := range []time.Duration{8 * time.Second, time.Minute} {
		faults = append(faults, fault{
			name: fmt.Sprintf("for %v", long), lasts: long, options: options{secureAPI: true},
			begin: func(l *lab) func() {
				ctx, heal := context.WithCancel(l.t.Context())
				l.api.handshakes.Store(&ctx)
				end := l.api.BreakFor(time.Second, sandbox.All, sandbox.Disconnect())
				l.api.endConnections()
				return func() { end(); l.api.handshakes.Store(nil); heal() }
			},
		})
	}
	try(t, faults)
}

// TestCertificateOfTheStatusAPIExpires also breaks the connections that are in use:
// no certificate is looked at twice.
func TestCertificateOfTheStatusAPIExpires(t *testing.T) {
	t.Parallel()
	try(t, []fault{{
		name: "and is renewed", lasts: 20 * time.Second, options: options{secureAPI: true},
		begin: func(l *lab) func() {
			good := l.api.certificate.Load()
			l.api.certificate.Store(l.lan.authority.certificate(l.t, time.Now().Add(-time.Hour)))
			heal := l.api.BreakFor(time.Second, sandbox.All, sandbox.Disconnect())
			l.api.endConnections()
			return func() { heal(); l.api.certificate.Store(good) }
		},
	}})
}

// TestConnectionsToTheStatusAPIAreForgotten by a firewall, which drops their packets from
// then on without a word, and lets new ones through.
func TestConnectionsToTheStatusAPIAreForgotten(t *testing.T) {
	t.Parallel()
	var faults []fault
	for _, secure := range []bool{false, true} {
		name := "over HTTP/1.1"
		if secure {
			name = "over HTTP/2"
		}
		faults = append(faults, fault{name: name, lasts: 50 * time.Second, options: options{secureAPI: secure}, begin: func(l *lab) func() {
			ports := l.api.ports()
			if len(ports) == 0 {
				l.t.Error("the daemon has no connection to the Status API, want some that are kept")
				return func() {}
			}
			forgotten := "tcp %sport { " + strings.Join(ports, ", ") + " } drop"
			there, back := filter(l.t, "input", fmt.Sprintf(forgotten, "s")), filter(l.t, "output", fmt.Sprintf(forgotten, "d"))
			return func() { there(); back() }
		}})
	}
	try(t, faults)
}
