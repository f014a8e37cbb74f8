package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// curl is the referee of what is alive: wherever it gets a good answer, a
// replica must be up. It makes the transfers of many cases in one process, since
// to start one costs more than the transfer.

// differentialCases returns how many generated cases a differential test has:
// few, which find most regressions, or as many as CRISP_DIFFERENTIAL says.
func differentialCases(t testing.TB, few int) int {
	text := os.Getenv("CRISP_DIFFERENTIAL")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CRISP_DIFFERENTIAL is %q, want a number of cases", text)
	}
	return n
}

// webRequest is a request as it reached the server.
type webRequest struct{ method, host, path, authorization, cookie string }

// farm is a server of all cases on one port. It keeps the requests of each.
type farm struct {
	l      net.Listener
	caseOf func(q webRequest) string
	answer func(q webRequest) []byte

	mu   sync.Mutex
	seen map[string][]webRequest // by who asked and the case
}

func newFarm(t testing.TB, caseOf func(webRequest) string, answer func(webRequest) []byte) *farm {
	f := &farm{l: loopback(t), caseOf: caseOf, answer: answer, seen: make(map[string][]webRequest)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := f.l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() { f.l.Close(); wg.Wait() })
	return f
}

// serve answers one request.
func (f *farm) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	q, agent, err := readRequest(r)
	if err != nil {
		return
	}
	who := "probe "
	if strings.HasPrefix(agent, "curl/") {
		who = "curl "
	}
	f.mu.Lock()
	f.seen[who+f.caseOf(q)] = append(f.seen[who+f.caseOf(q)], q)
	f.mu.Unlock()
	c.Write(f.answer(q))
	// What the client has not read by now must not be lost to a reset.
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	io.Copy(io.Discard, io.LimitReader(r, 1<<20))
}

// readRequest returns a request and who asks.
func readRequest(r *bufio.Reader) (q webRequest, agent string, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return q, "", err
	}
	q.method, line, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	q.path, _, _ = strings.Cut(line, " HTTP/")
	for {
		line, err := r.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if err != nil || line == "" {
			return q, agent, err
		}
		name, value, _ := strings.Cut(line, ": ")
		switch strings.ToLower(name) {
		case "host":
			q.host = value
		case "authorization":
			q.authorization = value
		case "user-agent":
			agent = value
		case "cookie":
			q.cookie = value
		}
	}
}

// requests returns what "curl" or "probe" asked for in a case.
func (f *farm) requests(who, key string) []webRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[who+" "+key]
}

// prober returns a prober whose connections all lead to f.
func (f *farm) prober() *Prober {
	p := testProber()
	addr := f.l.Addr().(*net.TCPAddr).AddrPort()
	connect := p.connect
	p.connect = func(ctx context.Context, _ netip.AddrPort, a attempt) (net.Conn, error) { return connect(ctx, addr, a) }
	p.resolver.lookup = func(context.Context, string, time.Duration, func(hostAddrs)) (hostAddrs, error) {
		return hostAddrs{addrs: []netip.Addr{addr.Addr()}, total: 1}, nil
	}
	return p
}

// transfer is what curl is to do, and what came of it.
type transfer struct {
	url    string
	method string
	body   string // the file that the body goes to; "": nowhere

	exit   int
	status int
}

// up reports whether curl got a good answer.
func (tr *transfer) up() bool { return tr.exit == 0 && 200 <= tr.status && tr.status < 400 }

func (tr *transfer) String() string {
	return fmt.Sprintf("%s: exit %d, status %d", tr.method, tr.exit, tr.status)
}

// run has curl make all transfers, in a few processes side by side.
func (f *farm) run(t testing.TB, curl string, transfers []*transfer) {
	const most = 500 // in one process
	var wg sync.WaitGroup
	places := make(chan bool, runtime.NumCPU())
	for len(transfers) > 0 {
		part := transfers[:min(most, len(transfers))]
		transfers = transfers[len(part):]
		places <- true
		wg.Go(func() {
			defer func() { <-places }()
			for len(part) > 0 {
				part = part[f.runSome(t, curl, part):]
			}
		})
	}
	wg.Wait()
}

// fatalExit is what curl takes for a mistake of its own: "a libcurl function was
// given a bad argument". A head that begins with a folded line is one.
const fatalExit = 43

// endsCurl reports whether curl gives up all transfers after one that failed so.
func endsCurl(exit int) bool { return exit == fatalExit || exit == 27 }

// runSome has one curl make transfers and returns how many of them it made.
func (f *farm) runSome(t testing.TB, curl string, transfers []*transfer) int {
	cmd := exec.Command(curl, "-q", "-K", "-")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=/nonexistent"}
	cmd.Stdin = strings.NewReader(f.script(transfers))
	out, err := cmd.Output() // its status is that of the last transfer
	made := 0
	for line := range strings.Lines(string(out)) {
		if made == len(transfers) {
			t.Errorf("curl says %q after all its transfers", line)
			break
		}
		tr := transfers[made]
		if _, err := fmt.Sscan(line, &tr.exit, &tr.status); err != nil {
			t.Errorf("curl says %q of a transfer, want two numbers", line)
		}
		made++
	}
	if made == len(transfers) || made > 0 && endsCurl(transfers[made-1].exit) {
		return made
	}
	// Of the next one it said nothing.
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Errorf("curl made %d transfers of %d: %v", made, len(transfers), err)
		return len(transfers)
	}
	transfers[made].exit = exit.ExitCode()
	return made + 1
}

// script is a configuration of curl's that makes transfers: --max-redirs 5
// -sL -b ” --compressed, and that no transfer leads anywhere but to f.
func (f *farm) script(transfers []*transfer) string {
	var b bytes.Buffer
	for i, tr := range transfers {
		if i > 0 {
			b.WriteString("next\n")
		}
		out := tr.body
		if out == "" {
			out = os.DevNull
		}
		fmt.Fprintf(&b, "url = \"%s\"\nconnect-to = \"::%s\"\noutput = \"%s\"\n", curlQuote(tr.url), f.l.Addr(), curlQuote(out))
		b.WriteString("write-out = \"%{exitcode} %{http_code}\\n\"\n")
		b.WriteString("silent\nlocation\ncookie = \"\"\nmax-redirs = 5\ncompressed\ngloboff\nmax-time = 20\nproto-redir = \"=http,https\"\n")
		if tr.method == "HEAD" {
			b.WriteString("head\n")
		}
	}
	return b.String()
}

// curlQuote escapes text for a quoted string of curl's configuration.
func curlQuote(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`).Replace(text)
}
