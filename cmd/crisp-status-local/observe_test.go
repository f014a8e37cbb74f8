package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
	"github.com/crisp-im/crisp-status-local/v2/internal/status"
)

// serving makes the endpoint of w's daemon listen at where.
func (w *world) serving(where string) {
	w.t.Helper()
	w.configure(w.Token(), 1)
	text, err := os.ReadFile(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	if where != "" {
		text = bytes.Replace(text, []byte("[server]\n"), []byte("[server]\nreplica_metrics = true\ninet = \""+where+"\"\n"), 1)
	}
	if err := os.WriteFile(w.config, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// fetch returns the answer of the endpoint at socket to path, and its status; 0
// if nobody listens.
func fetch(socket, path string) (string, int) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}
	resp, err := client.Get("http://localhost" + path)
	if err != nil {
		return err.Error(), 0
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body), resp.StatusCode
}

func (w *world) wantAnswer(socket, path, text string, code int) {
	w.t.Helper()
	w.eventually(path+" of "+socket+" says "+text, func() bool {
		body, got := fetch(socket, path)
		return got == code && strings.Contains(body, text)
	})
}

func TestTheEndpointShowsWhatIsSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp", "tcp://127.0.0.1:1")
	socket := filepath.Join(t.TempDir(), "s")
	w.serving(socket)
	w.launch()
	w.wantAnswer(socket, "/readyz", "ok", http.StatusOK)
	var got status.Snapshot
	w.eventually("a healthy replica, and a dead one with its failure, both reported", func() bool {
		body, _ := fetch(socket, "/replicas.json")
		got = status.Snapshot{}
		if json.Unmarshal([]byte(body), &got) != nil || got.Counts.Healthy != 1 || got.Counts.Dead != 1 {
			return false
		}
		dead := got.Replicas[1]
		return dead.Reported != nil && dead.Reported.Health == "dead" && dead.LastFailure != nil && len(dead.LastFailure.Attempts) > 0 && got.API.State == status.APIAnswers
	})
	if dead := got.Replicas[1]; dead.Reason != "connection refused" || dead.Kind != "refused" || dead.LastFailure.Attempts[0].Address != "127.0.0.1:1" {
		t.Errorf("got %+v, want the reason, its kind and the address", dead)
	}
	w.wantAnswer(socket, "/metrics", `crisp_status_local_replicas{health="dead"} 1`, http.StatusOK)
	w.wantAnswer(socket, "/metrics/replicas", `reason="refused"} 1`, http.StatusOK)
	w.wantAnswer(socket, "/", "<title>", http.StatusOK)

	w.SetToken("another")
	w.wantAnswer(socket, "/readyz", "does not accept the token", http.StatusServiceUnavailable)
	w.wantAnswer(socket, "/healthz", "ok", http.StatusOK)
	w.stop()
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("got %v of the socket after the end, want it gone", err)
	}
}

func TestAReloadMovesTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	folder := t.TempDir()
	first, second := filepath.Join(folder, "1"), filepath.Join(folder, "2")
	w.serving(first)
	w.launch()
	w.wantAnswer(first, "/healthz", "ok", http.StatusOK)
	w.serving(second)
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.wantAnswer(second, "/healthz", "ok", http.StatusOK)
	w.wantAnswer(first, "/healthz", "", 0)

	w.serving("")
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.wantAnswer(second, "/healthz", "", 0)
	w.stop()
}

func TestTheDaemonWatchesOnWhereItsEndpointCannotListen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	busy, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	w.serving(busy.Addr().String())
	w.launch()
	w.says("is the socket of a process that runs, want a path that is free")
	w.becomes("target:tcp", sandbox.Healthy)
	if stdout, _, exit := started(t.Context(), t, "status", "-c", w.config); exit != 0 || !strings.Contains(stdout, "endpoint    is not served: "+busy.Addr().String()) {
		t.Errorf("got exit status %d and\n%swant that the endpoint is not served", exit, stdout)
	}
	busy.Close()
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.wantAnswer(busy.Addr().String(), "/healthz", "ok", http.StatusOK)
	if stdout, _, _ := started(t.Context(), t, "status", "-c", w.config); strings.Contains(stdout, "not served") {
		t.Errorf("got\n%swant no word of the endpoint, which is served", stdout)
	}
	w.stop()
}

func TestReportsGoOnWhileEverythingIsAskedTenTimesASecond(t *testing.T) {
	t.Parallel()
	replicas := estate(300)
	w := newWorld(t, sandbox.Options{}, replicas...)
	socket := filepath.Join(t.TempDir(), "s")
	w.serving(socket)
	w.launch()
	w.wantAnswer(socket, "/readyz", "ok", http.StatusOK)
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait() // before the daemon ends
	defer stop()
	ask := func(what string, answered func() bool) {
		asking.Go(func() {
			tenth := time.NewTicker(100 * time.Millisecond)
			defer tenth.Stop()
			for ctx.Err() == nil {
				if !answered() {
					t.Errorf("%s is not answered", what)
					return
				}
				<-tenth.C
			}
		})
	}
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/metrics/replicas", "/replicas.json"} {
		ask(path, func() bool { _, code := fetch(socket, path); return code == http.StatusOK })
	}
	ask("status", func() bool { return exec.Command(binary, "status", "-c", w.config).Run() == nil })
	w.allReported(replicas, 4)
	stop()
	asking.Wait()
	w.wantNoneRed()
	w.stop()
}

func TestADeniedReplicaIsNoTroubleOfThisHost(t *testing.T) {
	records := make([]status.Record, 3)
	for i, e := range []*probe.Error{
		{Kind: probe.KindPolicy, Reason: "10.0.0.1 port 80 is denied"},
		{Kind: probe.KindPolicy, Reason: "10.0.0.1 port 81 is denied"},
		{Kind: probe.KindLocal, Reason: "too many open files"},
	} {
		records[i].History.Unjudged(time.Now(), probe.Result{Err: e})
	}
	if got := troubleOf(records); len(got) != 1 || got[0].Reason != "too many open files" || got[0].Replicas != 1 {
		t.Errorf("got %+v, want the open files alone", got)
	}
}
