package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/crisp-im/crisp-status-local/v2/internal/config"
	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox"
)

func noEnvironment(string) (string, bool) { return "", false }

func TestLinesInJSONHaveStableNamesAndNumbers(t *testing.T) {
	t.Parallel()
	target, err := probe.ParseTarget("tcp://db:1")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log, mask, writer := newLog(system{lookupEnv: noEnvironment, stderr: &out}, config.Config{Level: logrus.WarnLevel, Format: config.JSON})
	mask.use(redact.New(redact.Text("pass<word>&\"1")))
	log.WithFields(logrus.Fields{
		"replica": target, "latency": 1500 * time.Microsecond, "attempts": 3, "kind": probe.KindRefused, "to": probe.Dead,
	}).WithError(errors.New(`it says pass<word>&"1`)).Warn("health changed")
	writer.Close(patience)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("the line %q is no JSON: %v", out.String(), err)
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(got["time"]))
	if err != nil || time.Since(at) > patience {
		t.Errorf("the time is %v (%v), want now, as RFC 3339", got["time"], err)
	}
	delete(got, "time")
	if text := fmt.Sprint(got["error"]); !strings.HasPrefix(text, "it says ") || strings.Contains(out.String(), "word") {
		t.Errorf("the line is %q, want the secret masked", out.String())
	}
	delete(got, "error")
	want := map[string]any{
		"level": "warning", "msg": "health changed", "replica": "tcp://db:1", "latency_seconds": 0.0015, "attempts": 3.0, "kind": "refused", "to": "dead",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestJSONForTheJournalCarriesItsPriority(t *testing.T) {
	t.Parallel()
	stderr, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	info, err := stderr.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	env := func(name string) (string, bool) {
		return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), name == "JOURNAL_STREAM"
	}
	log, _, writer := newLog(system{lookupEnv: env, stderr: stderr}, config.Config{Level: logrus.WarnLevel, Format: config.JSON})
	log.Error("no way")
	writer.Close(patience)
	got, err := os.ReadFile(stderr.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(got), "<3>{") || !json.Valid(bytes.TrimPrefix(got, []byte("<3>"))) {
		t.Errorf("got %q, want an object after its priority", got)
	}
}

func TestTheFormatOfTheLogIsReloaded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox.Options{}, "target:tcp")
	w.start(1)
	w.says("level=warning msg=\"watching the replicas of the map\"")
	file, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(file), "[server]\n", "[server]\nlog_format = \"json\"\n", 1)
	if err := os.WriteFile(w.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.cmd.Process.Signal(syscall.SIGHUP)
	w.says(`"msg":"reloaded"`)
	w.stop()
}
