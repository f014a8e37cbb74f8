package probe

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// starvedVariable tells the test binary to be the process that is starved: it
// holds the certificate that HTTPS targets have.
const starvedVariable = "CRISP_STATUS_LOCAL_TEST_STARVED"

// A process that gets 30 ms in every 1.2 s calls nobody dead whose answer lay in
// its sockets, and still tells who is.
func TestAStarvedProcessCallsNobodyDeadWhoAnswers(t *testing.T) {
	if os.Getenv(starvedVariable) != "" {
		judgeFromStdin(t)
		return
	}
	t.Parallel()
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	plain, secure := httptest.NewServer(answer), httptest.NewTLSServer(answer)
	defer plain.Close()
	defer secure.Close()
	var targets, silent []string
	for i := range 20 {
		targets = append(targets, plain.URL+"/"+fmt.Sprint(i), secure.URL+"/"+fmt.Sprint(i),
			"tcp://"+plain.Listener.Addr().String(), fmt.Sprintf("icmp://127.0.0.%d", i+1))
	}
	hole, mute := blackHole(t), listenTCP(t, "tcp4", "127.0.0.1:0") // the one takes no connection, the other says nothing
	silent = append(silent, "tcp://"+hole.String(), "http://"+hole.String()+"/", "http://"+mute.Addr().String()+"/", "https://"+mute.Addr().String()+"/")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run", "^"+t.Name()+"$", "-test.v")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	cmd.Env = append(os.Environ(), starvedVariable+"="+string(certificate))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	defer func() { close(over); wg.Wait(); cmd.Process.Kill(); cmd.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "ready" {
	}
	wg.Go(func() {
		for {
			cmd.Process.Signal(syscall.SIGSTOP)
			select {
			case <-time.After(1170 * time.Millisecond):
			case <-over:
				return
			}
			cmd.Process.Signal(syscall.SIGCONT)
			time.Sleep(30 * time.Millisecond)
		}
	})
	fmt.Fprintln(in, strings.Join(append(targets, silent...), "\n"))
	in.Close()
	healths := map[string]string{}
	for lines.Scan() {
		if url, health, ok := strings.Cut(lines.Text(), " is "); ok {
			healths[url] = health
		}
	}
	for _, url := range targets {
		if health := healths[url]; !strings.HasPrefix(health, "healthy") {
			if strings.HasPrefix(url, "icmp:") && strings.Contains(health, "may not open an ICMP socket") {
				continue
			}
			t.Errorf("%s is %q, want healthy", url, health)
		}
	}
	for _, url := range silent {
		if health := healths[url]; !strings.HasPrefix(health, "dead") {
			t.Errorf("%s is %q, want dead", url, health)
		}
	}
}

// judgeFromStdin probes the URLs of standard input, all at once, and prints
// what they are.
func judgeFromStdin(t *testing.T) {
	p := New("test")
	defer p.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(os.Getenv(starvedVariable)))
	p.TrustRoots(roots)
	fmt.Println("ready")
	all, err := io.ReadAll(os.Stdin)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for url := range strings.FieldsSeq(string(all)) {
		c := Check{Target: mustParse(t, url), Rules: &Rules{DeadAfter: time.Second, SickAfter: 500 * time.Millisecond, HealthyAbove: 200, HealthyBelow: 400}}
		wg.Go(func() {
			r := p.probe(t.Context(), c, MaxProbe)
			fmt.Printf("%s is %s after %v, %d attempts: %s\n", url, r.Health, r.Latency, r.Attempts, r.Reason())
		})
	}
	wg.Wait()
}
