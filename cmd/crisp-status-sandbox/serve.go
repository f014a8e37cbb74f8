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
	"time"

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
	var several *group
	o := sandbox.Options{
		Token:    s.token,
		MapFile:  s.mapFile,
		Generate: s.generated,
		Listen:   s.listen,
		TLS:      s.tls,
		APIDelay: s.apiDelay,
		Log:      stderr,
		Page:     func(server *sandbox.Server) http.Handler { return newPage(server, beside, several) },
	}
	if s.members > 0 {
		o.Members, o.Takeover = memberNames(s.members), groupTTL+2*time.Second
	}
	server, err := sandbox.New(o)
	if err != nil {
		return nil, err
	}
	configFile, err := writeConfigs(folder, server, s, beside)
	if err == nil && s.members > 0 {
		several, err = newGroup(s, folder, server, stdout, stderr)
	}
	if err != nil {
		server.Close()
		return nil, err
	}
	// The child must be able to deliver its verdicts after ctx is done.
	serving, stopServing := context.WithCancelCause(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { stopServing(server.Run(serving)) })
	defer work.Wait()
	defer stopServing(nil)

	printBanner(stdout, server, s, configFile)
	if several != nil {
		several.print(stdout, s.command)
	}
	l := load{settings: s, server: server, serving: serving, group: several, configFile: configFile, stdout: stdout, stderr: stderr}
	child, failed := l.run(ctx)
	done := outcome{server.Summary(), ownCPU() - before, child}
	if child != nil && done.Reports > 0 {
		child.FirstReport = done.Began.Sub(child.started).Seconds() + done.FirstReport
	}
	return &done, cmp.Or(failed, done.write(stdout))
}

// daemonOf returns the endpoint of the daemon of this run. It has none in a generated
// map, where the daemon is measured, and an endpoint costs memory; and none where the
// path would be too long for a socket.
func daemonOf(s settings, folder string) daemon {
	socket := filepath.Join(folder, "endpoint.sock")
	if len(s.command) == 0 || s.members > 0 || s.generated != nil || len(socket) > longestSocket || !filepath.IsAbs(socket) {
		return daemon{}
	}
	return daemon{socket}
}

// writeConfigs writes the certificate of the sandbox, and the configuration that
// leads a daemon to it, whose path it returns.
func writeConfigs(folder string, server *sandbox.Server, s settings, beside daemon) (string, error) {
	if err := os.WriteFile(filepath.Join(folder, "ca.pem"), server.CA(), 0o644); err != nil {
		return "", err
	}
	return writeConfig(filepath.Join(folder, "config.cfg"), server, s, beside, server.Endpoint(), "")
}

// writeConfig writes the configuration of a daemon that reports to an endpoint of
// the sandbox, with more at its end.
func writeConfig(path string, server *sandbox.Server, s settings, beside daemon, endpoint, more string) (string, error) {
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
%s`, s.logLevel, inet, endpoint, server.Token(), promise, int(s.interval.Seconds()), filepath.Join(filepath.Dir(path), "ca.pem"), more)
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
