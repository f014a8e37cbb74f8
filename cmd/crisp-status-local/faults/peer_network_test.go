//go:build faults

package faults

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// nameserver is the address of a resolver that is somebody's product.
const nameserver = "10.9.1.53"

// TestResolversOfDebian asks names of resolvers that ask the honest one, and goes
// on while that is silent.
func TestResolversOfDebian(t *testing.T) {
	t.Parallel()
	silent := func(l *lab) func() { return l.resolver.tells(func(_, _ []byte) []byte { return nil }) }
	try(t, []fault{
		{name: "dnsmasq", lasts: 20 * time.Second, begin: silent, options: options{before: func(l *lab) {
			l.askBy("dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file", "--listen-address="+nameserver, "--bind-interfaces", "--server="+farAddress)
		}}},
		{name: "unbound", lasts: 20 * time.Second, begin: silent, options: options{before: func(l *lab) {
			conf := write(l.t, filepath.Join(l.t.TempDir(), "conf"), "server:\n interface: "+nameserver+"\n access-control: 10.0.0.0/8 allow\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n"+
				" module-config: \"iterator\"\n do-not-query-localhost: no\nremote-control:\n control-enable: no\nforward-zone:\n name: \".\"\n forward-addr: "+farAddress+"\n", 0o644)
			l.askBy("unbound", "-d", "-c", conf)
		}}},
	})
}

// askBy starts a resolver, and makes it the daemon's.
func (l *lab) askBy(args ...string) {
	l.t.Helper()
	if program(args[0]) == "" {
		namespaces.Lack(l.t, args[0]+" is not installed")
	}
	here(l.t, "ip addr add "+nameserver+"/32 dev lo")
	serveBy(l.t, filepath.Join(l.t.TempDir(), "log"), "53", args...)
	// The honest one listens on that port, too.
	asking := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(nameserver, "53"))
	}}
	namespaces.Eventually(l.t, args[0]+" answers", func() bool {
		_, err := asking.LookupNetIP(l.t.Context(), "ip4", "web.lan.")
		return err == nil
	})
	if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver "+nameserver+"\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
}
