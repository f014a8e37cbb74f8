//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

// The group of daemons that watch for one page.
const (
	mostMembers = 9 // names end in one letter, and the page has room for so many
	groupTTL    = 5 * time.Second
	etcdServers = 3 // one may fail
	etcdStart   = 20 * time.Second
)

// Engines of a group.
const (
	engineEtcd  = "etcd"
	engineAlive = "alive"
)

// memberNames returns the names of n daemons.
func memberNames(n int) []string {
	var names []string
	for i := range n {
		names = append(names, "host-"+string(rune('a'+i)))
	}
	return names
}

// pickEngine returns the engine of the group: the one that was asked for, or etcd
// where it is installed.
func pickEngine(s settings) string {
	if s.engine != "" {
		return s.engine
	}
	if _, err := exec.LookPath("etcd"); err == nil {
		return engineEtcd
	}
	return engineAlive
}

// group is several daemons beside one sandbox, and the servers of the engine that
// decides who of them is on duty.
type group struct {
	engine  string
	daemons []*program
	servers []*program
	sockets map[string]string // of the daemons' endpoints, by name
	configs map[string]string // files, by name
	clients []string          // URLs of the servers
	logs    []string          // files, of the servers
}

// newGroup writes a configuration for each daemon. Nothing is started yet.
func newGroup(s settings, folder string, server *sandbox.Server, stdout, stderr io.Writer) (*group, error) {
	g := &group{engine: pickEngine(s), sockets: make(map[string]string), configs: make(map[string]string)}
	if g.engine == engineEtcd {
		if err := g.addEtcd(folder, stdout); err != nil {
			return nil, err
		}
	}
	for _, name := range memberNames(s.members) {
		beside := daemon{filepath.Join(folder, name+".sock")}
		if len(beside.socket) > longestSocket || !filepath.IsAbs(beside.socket) {
			beside = daemon{}
		}
		g.sockets[name] = beside.socket
		path, err := writeConfig(filepath.Join(folder, name+".cfg"), server, s, beside, server.EndpointOf(name), g.section(name))
		if err != nil {
			return nil, err
		}
		g.configs[name] = path
		g.daemons = append(g.daemons, &program{
			name: name, command: withConfig(s.command, path), env: environment(s, folder), said: stdout,
			out: &named{name, stdout}, err: &named{name, stderr},
		})
	}
	return g, nil
}

// section returns the part of the configuration that makes a daemon one of the group.
func (g *group) section(member string) string {
	text := fmt.Sprintf("\n[cluster]\nengine = %q\nmember = %q\n", g.engine, member)
	if g.engine == engineEtcd {
		text += fmt.Sprintf("group = \"demo\"\nttl = %d\nendpoints = [\"%s\"]\n", int(groupTTL.Seconds()), strings.Join(g.clients, `", "`))
	}
	return text
}

// addEtcd adds the servers of a cluster of etcd, on loopback.
func (g *group) addEtcd(folder string, stdout io.Writer) error {
	path, err := exec.LookPath("etcd")
	if err != nil {
		return fmt.Errorf("the engine etcd: %w (apt install etcd-server)", err)
	}
	ports, err := freePorts(2 * etcdServers)
	if err != nil {
		return err
	}
	url := func(i int) string { return fmt.Sprintf("http://127.0.0.1:%d", ports[i]) }
	var peers []string
	for i := range etcdServers {
		peers = append(peers, fmt.Sprintf("etcd-%d=%s", i+1, url(etcdServers+i)))
		g.clients = append(g.clients, url(i))
	}
	for i := range etcdServers {
		name := fmt.Sprintf("etcd-%d", i+1)
		g.logs = append(g.logs, filepath.Join(folder, name+".log"))
		g.servers = append(g.servers, &program{
			name: name, said: stdout, out: io.Discard, err: io.Discard,
			env: append(os.Environ(), "ETCD_UNSUPPORTED_ARCH="+runtime.GOARCH), // it refuses arm64 by default
			command: []string{path, "--name", name, "--data-dir", filepath.Join(folder, name),
				"--listen-client-urls", url(i), "--advertise-client-urls", url(i),
				"--listen-peer-urls", url(etcdServers + i), "--initial-advertise-peer-urls", url(etcdServers + i),
				"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-token", filepath.Base(folder),
				"--heartbeat-interval", "200", "--election-timeout", "2000", // a busy machine is no lost leader
				"--logger", "zap", "--log-outputs", g.logs[i], "--log-level", "error"},
		})
	}
	return nil
}

// freePorts returns ports of loopback that nobody listens at now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // when all are known, so that none comes twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// begin starts the servers, and when they answer the daemons.
func (g *group) begin(ctx context.Context) error {
	for _, p := range g.servers {
		if err := p.begin(); err != nil {
			return err
		}
	}
	if err := g.awaitEngine(ctx); err != nil {
		return err
	}
	for _, p := range g.daemons {
		if err := p.begin(); err != nil {
			return err
		}
	}
	return nil
}

// awaitEngine waits until every server answers, or says which does not.
func (g *group) awaitEngine(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, etcdStart)
	defer cancel()
	for i, client := range g.clients {
		for !healthyAt(ctx, client) {
			if p := g.servers[i]; !p.alive() {
				return fmt.Errorf("%s %s%s", p.name, p.state().State, lastLine(g.logs[i]))
			}
			if err := ctx.Err(); err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("%s does not answer within %v", g.servers[i].name, etcdStart)
				}
				return nil // the run is over before it has begun
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// lastLine returns the last line of a log, behind a colon; nothing if there is none.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return ""
	}
	text = bytes.TrimSpace(text)
	return ": " + string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// alive reports whether there is a process, frozen or not.
func (p *program) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runningLocked()
}

// healthyAt reports whether an etcd has a leader.
func healthyAt(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// end stops the daemons, who give the duty back, and then the servers.
func (g *group) end() {
	for _, programs := range [][]*program{g.daemons, g.servers} {
		var ending sync.WaitGroup
		for _, p := range programs {
			ending.Go(p.end)
		}
		ending.Wait()
	}
}

// all returns the programs in the order of the page.
func (g *group) all() []*program {
	if g == nil {
		return nil
	}
	return slices.Concat(g.daemons, g.servers)
}

// find returns the program of that name, nil if there is none.
func (g *group) find(name string) *program {
	for _, p := range g.all() {
		if p.name == name {
			return p
		}
	}
	return nil
}

// states returns how the programs are.
func (g *group) states() []programState {
	var states []programState
	for _, p := range g.all() {
		states = append(states, p.state())
	}
	return states
}

// ask asks all daemons at once; those that do not answer are not in it.
func (g *group) ask(ctx context.Context) map[string]*told {
	var (
		asking sync.WaitGroup
		mu     sync.Mutex // protects words
		words  = make(map[string]*told)
	)
	for _, p := range g.daemons {
		if s := p.state(); s.State != "running" {
			continue // it would only cost the time until it is given up
		}
		asking.Go(func() {
			if t := (daemon{g.sockets[p.name]}).ask(ctx); t != nil {
				mu.Lock()
				defer mu.Unlock()
				words[p.name] = t
			}
		})
	}
	asking.Wait()
	return words
}

// print says how to look at the group, and what to do to it.
func (g *group) print(w io.Writer, command []string) {
	fmt.Fprintf(w, "  The group: %d daemons, engine %s. Stop, kill and freeze them on the page, or by their process ids:\n", len(g.daemons), g.engine)
	for _, p := range g.daemons {
		fmt.Fprintf(w, "             %s status -c %s\n", command[0], g.configs[p.name])
	}
	if len(g.clients) > 0 {
		fmt.Fprintf(w, "             etcdctl --endpoints %s get --prefix /crisp-status-local/   # in Debian: etcd-client\n", strings.Join(g.clients, ","))
	}
	fmt.Fprintln(w)
}

// named writes lines with a name before each. It is given whole lines.
type named struct {
	name string
	to   io.Writer
}

func (n *named) Write(p []byte) (int, error) {
	var b strings.Builder
	for line := range strings.Lines(string(p)) {
		b.WriteString(n.name + "  " + line)
	}
	if _, err := io.WriteString(n.to, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// environment returns the environment of a daemon; nil: that of this process.
func environment(s settings, folder string) []string {
	if !s.tls {
		return nil
	}
	return append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(folder, "ca.pem"))
}

// withConfig returns a command with the path of a configuration in its arguments.
func withConfig(command []string, configFile string) []string {
	all := []string{command[0]}
	for _, arg := range command[1:] {
		all = append(all, strings.ReplaceAll(arg, "{config}", configFile))
	}
	return all
}
