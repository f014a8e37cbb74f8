//go:build linux

package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

//go:embed sample.toml
var sample []byte

// serve executes one run, until ctx is done, --for or --cycles is over, or the
// child ends by itself, which is an error. It leaves no file and no process
// behind. The outcome is nil if the sandbox did not start.
func serve(ctx context.Context, s settings, stdout, stderr io.Writer) (*outcome, error) {
	before := ownCPU()
	folder, err := os.MkdirTemp("", "crisp-status-sandbox-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if s.mapFile == "" && s.generated == nil {
		s.mapFile = filepath.Join(folder, "map.toml")
		if err := os.WriteFile(s.mapFile, sample, 0o644); err != nil {
			return nil, err
		}
	}
	beside := daemonOf(s, folder)
	server, err := sandbox.New(sandbox.Options{
		Token:    s.token,
		MapFile:  s.mapFile,
		Generate: s.generated,
		Listen:   s.listen,
		TLS:      s.tls,
		APIDelay: s.apiDelay,
		Log:      stderr,
		Page:     func(server *sandbox.Server) http.Handler { return newPage(server, beside) },
	})
	if err != nil {
		return nil, err
	}
	// The child must be able to deliver its verdicts after ctx is done.
	serving, stopServing := context.WithCancelCause(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { stopServing(server.Run(serving)) })
	defer work.Wait()
	defer stopServing(nil)

	configFile, err := writeConfig(folder, server, s, beside)
	if err != nil {
		return nil, err
	}
	printBanner(stdout, server, s, configFile)
	l := load{settings: s, server: server, serving: serving, configFile: configFile, stdout: stdout, stderr: stderr}
	child, failed := l.run(ctx)
	o := outcome{server.Summary(), ownCPU() - before, child}
	if child != nil && o.Reports > 0 {
		child.FirstReport = o.Began.Sub(child.started).Seconds() + o.FirstReport
	}
	return &o, cmp.Or(failed, o.write(stdout))
}

// daemonOf returns the endpoint of the daemon of this run. It has none in a generated
// map, where the daemon is measured, and an endpoint costs memory; and none where the
// path would be too long for a socket.
func daemonOf(s settings, folder string) daemon {
	socket := filepath.Join(folder, "endpoint.sock")
	if len(s.command) == 0 || s.generated != nil || len(socket) > longestSocket || !filepath.IsAbs(socket) {
		return daemon{}
	}
	return daemon{socket}
}

// writeConfig writes the configuration that leads a daemon to the sandbox.
func writeConfig(folder string, server *sandbox.Server, s settings, beside daemon) (string, error) {
	caFile := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(caFile, server.CA(), 0o644); err != nil {
		return "", err
	}
	inet := ""
	if beside.socket != "" {
		inet = fmt.Sprintf("inet = %q\n", beside.socket)
	}
	promise := ""
	if s.promise != 0 {
		promise = fmt.Sprintf("promise = %d\n", int(s.promise.Seconds()))
	}
	text := fmt.Sprintf(`[server]
log_level = %q
%s
[report]
endpoint = %q
token = %q
%s
[probe]
interval = %d
ca_file = %q
`, s.logLevel, inet, server.Endpoint(), server.Token(), promise, int(s.interval.Seconds()), caFile)
	path := filepath.Join(folder, "config.cfg")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// printBanner prints the address of the page first, then the rest of what a person
// needs.
func printBanner(w io.Writer, server *sandbox.Server, s settings, configFile string) {
	page, elsewhere := addresses(server.URL())
	fmt.Fprintf(w, "\n  The page:  %s\n", page)
	if s.mapFile != "" {
		fmt.Fprintf(w, "  The map:   %s   edit this file to add and remove replicas\n", s.mapFile)
	}
	if elsewhere != "" {
		fmt.Fprintf(w, "  Elsewhere: %s\n", elsewhere)
	}
	fmt.Fprint(w, "  To stop:   Ctrl-C\n\n")
	if len(s.command) > 0 {
		return
	}
	text, err := os.ReadFile(configFile)
	if err != nil {
		return // it was written a moment ago
	}
	fmt.Fprintf(w, "Start a daemon beside it:\n\n")
	if s.tls {
		fmt.Fprintf(w, "  SSL_CERT_FILE=%s \\\n", filepath.Join(filepath.Dir(configFile), "ca.pem"))
	}
	fmt.Fprintf(w, "  crisp-status-local -c %s\n\nor give this configuration to one:\n\n%s\n", configFile, text)
}

// addresses returns the address of the page as a browser on this machine opens it, and
// how another machine comes to it; nothing where that is the same.
func addresses(page string) (string, string) {
	u, err := url.Parse(page)
	if err != nil {
		return page, ""
	}
	ip, port := net.ParseIP(u.Hostname()), u.Port()
	switch {
	case ip.IsUnspecified():
		return "http://127.0.0.1:" + port + "/", "http://THIS-HOST:" + port + "/ (it listens at every address, and whoever opens it may press its buttons)"
	case u.Hostname() == "127.0.0.1":
		return page, fmt.Sprintf("ssh -N -L %s:127.0.0.1:%s THIS-HOST, then the same address", port, port)
	}
	return page, ""
}
