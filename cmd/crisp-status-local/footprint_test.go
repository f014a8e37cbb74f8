package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNoMapTakesMoreMemoryThanItsReplicas: the daemon as an operator has it, and the most
// memory that it ever had, pages of its program included.
func TestNoMapTakesMoreMemoryThanItsReplicas(t *testing.T) {
	const limit = 40 << 20
	most := replicasFor(limit)
	again := func(w io.Writer, n int, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		for range n {
			io.WriteString(w, text)
		}
	}
	const open, end = `{"data":{"services":[{"id":"s","nodes":[`, `]}]}}`
	list := func(w io.Writer, n int, format string) {
		for i := range n {
			if i > 0 {
				io.WriteString(w, ",")
			}
			fmt.Fprintf(w, format, i, i)
		}
	}
	for _, tt := range []struct {
		name  string
		text  func(w io.Writer)
		limit int // GOMEMLIMIT; 0: none
		said  string
		times int
		most  int // bytes
	}{
		{"two million tiny values", func(w io.Writer) {
			io.WriteString(w, open+`{"id":"n","replicas":[0`)
			again(w, 1<<11, "%s", strings.Repeat(",0", 1<<10))
			io.WriteString(w, "]}"+end)
		}, 0, "more like these", 1, 40 << 20},
		{"one giant string", func(w io.Writer) {
			io.WriteString(w, `{"data":{"date":"`)
			again(w, 1<<10, "%s", strings.Repeat("x", 32<<10))
		}, 0, "a value of over 2 MiB", 1, 40 << 20},
		{"a depth without end", func(w io.Writer) {
			io.WriteString(w, open+`{"id":"n","unknown":`)
			again(w, 16<<20, "[")
		}, 0, "exceeded max depth", 1, 40 << 20},
		{"nodes with rules of their own", func(w io.Writer) {
			io.WriteString(w, open)
			list(w, most, `{"id":"n%d","replicas":["tcp://127.0.0.1:1"],"http":{"body":{"dead_match":"%d"}}}`)
			io.WriteString(w, end)
		}, limit, "fit the memory limit", 1, 2 * limit},
		{"a million nodes with rules of their own", func(w io.Writer) {
			io.WriteString(w, open)
			list(w, 1_000_000, `{"id":"n%d","replicas":["tcp://127.0.0.1:1"],"http":{"body":{"dead_match":"%d"}}}`)
			io.WriteString(w, end)
		}, limit, "map of over 8388608 values", 1, 2 * limit},
		{"too many replicas", func(w io.Writer) {
			io.WriteString(w, open+`{"id":"n","replicas":[`)
			list(w, 4*most, `"http://user:pass%d@server.example.com:81/?k=%d"`)
			io.WriteString(w, "]}"+end)
		}, limit, "fit the memory limit", 1, 2 * limit},
		// As much a replica as 2 GiB are for the largest map, and what a probe takes, since
		// all may be under way.
		{"all of them dead, and no limit", func(w io.Writer) {
			io.WriteString(w, open+`{"id":"n","replicas":[`)
			list(w, most-100, `"tcp://127.0.0.1:1/?%d-%d"`)
			io.WriteString(w, "]}"+end)
		}, 0, `msg="cycle over"`, 2, 40<<20 + most*(2<<10+12<<10)},
		// An interval of 12 s on a busy host: what its 504 connections to the API take, and
		// the pages of the program, which the system can take back, come on top.
		{"as many as fit, all of them dead", func(w io.Writer) {
			io.WriteString(w, open+`{"id":"n","replicas":[`)
			list(w, most-100, `"tcp://127.0.0.1:1/?%d-%d"`)
			io.WriteString(w, "]}"+end)
		}, limit, `msg="cycle over"`, 2, 3 * limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if peak := peakOf(t, tt.text, tt.limit, tt.said, tt.times); peak > tt.most {
				t.Errorf("got %.1f MiB at most, want %.1f", float64(peak)/(1<<20), float64(tt.most)/(1<<20))
			} else {
				t.Logf("%.1f MiB at most", float64(peak)/(1<<20))
			}
		})
	}
}

// peakOf runs the daemon with a map until its log has said something so often, and returns the most
// memory that it had until then, in bytes.
func peakOf(t *testing.T, text func(io.Writer), limit int, said string, times int) int {
	t.Helper()
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		b := bufio.NewWriterSize(w, 64<<10)
		text(b)
		b.Flush()
	}))
	defer server.Close()
	config := filepath.Join(t.TempDir(), "config.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[server]\nlog_level = \"info\"\n[report]\ntoken = \"t\"\nendpoint = %q\n[probe]\ninterval = 12\n", server.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-c", config)
	out := new(output)
	cmd.Stderr = out
	cmd.Env = os.Environ()
	if limit > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", limit))
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	}()
	for deadline := time.Now().Add(3 * patience); strings.Count(out.String(), said) < times; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q so often:\n%.3000s", said, out)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		t.Fatalf("got no VmHWM of\n%s", status)
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}
