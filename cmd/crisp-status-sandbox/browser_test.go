package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, driven over a pipe by the DevTools
// protocol.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	id      int
	session string
}

// missing skips the test for want of a tool, or fails it where all tools are to be
// there.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "chromium")
	}
	profile, err := os.MkdirTemp("", "crisp-status-sandbox-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	cmd := exec.CommandContext(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
		"--user-data-dir="+profile, "--window-size=1000,1400")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has helpers
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}        // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cancel()
		_ = cmd.Wait()
		in.Close()
		out.Close()
		_ = os.RemoveAll(profile) // a helper may write its last
	})
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	target := b.call("Target.createTarget", map[string]any{"url": "about:blank"})["targetId"]
	b.session, _ = b.call("Target.attachToTarget", map[string]any{"targetId": target, "flatten": true})["sessionId"].(string)
	return b
}

// call sends a command to the browser and returns its result, nil if it failed.
func (b *browser) call(method string, params map[string]any) map[string]any {
	b.t.Helper()
	b.id++
	command := map[string]any{"id": b.id, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
	for {
		text, err := b.out.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("chromium: %v", err)
		}
		var answer struct {
			ID     int            `json:"id"`
			Result map[string]any `json:"result"`
		}
		if err := json.Unmarshal(text[:len(text)-1], &answer); err != nil {
			b.t.Fatalf("chromium: %v", err)
		}
		if answer.ID == b.id { // others are events
			return answer.Result
		}
	}
}

// eval returns the value of an expression in the page, nil while the page loads.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	result, _ := b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true})["result"].(map[string]any)
	return result["value"]
}

// await waits until an expression is true in the page.
func (b *browser) await(what, expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); b.eval(expression) != true; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the page never shows %s; it has:\n%v", what, b.eval("document.body.innerText"))
		}
	}
}

// noneLate is whether the page shows no replica late, as an expression.
const noneLate = `document.querySelector(".tiles .late").classList.contains("zero")`

// breakAPI presses the button of a failure mode.
func (b *browser) breakAPI(mode, duration string) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`document.getElementById("for").value = %q; document.getElementById("mode %s").click()`, duration, mode))
	if mode != "normal" {
		b.await("that the API is broken", `document.body.innerText.includes("The API is broken on purpose")`)
	}
}

// demo runs the sandbox beside a daemon built from the source, and returns the
// address of the page.
func demo(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "crisp-status-local")
	if out, err := exec.Command("go", "build", "-o", program, "../crisp-status-local").CombinedOutput(); err != nil {
		t.Skipf("the daemon cannot be built here: %v: %s", err, out)
	}
	mapFile := filepath.Join(folder, "map.toml")
	text := `[[service]]
name = "Shop"
[[service.node]]
name = "Database"
replicas = ["target:tcp#primary", "target:http#web"]
`
	if err := os.WriteFile(mapFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writer.CloseWithError(run(ctx, []string{"--interval", "1s", "--map", mapFile, "--", program, "-c", "{config}"}, writer, io.Discard))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		if found := regexp.MustCompile(`The page: +(\S+)`).FindStringSubmatch(lines.Text()); found != nil {
			go io.Copy(io.Discard, reader)
			return found[1]
		}
	}
	t.Fatalf("the sandbox ended: %v", lines.Err())
	return ""
}

// rowOfTarget is the row of a target, as an expression.
func rowOfTarget(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("tr")].find((r) => r.innerText.includes(%q))`, name)
}

func TestThePageInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	t.Parallel()
	b := newBrowser(t)
	b.call("Page.navigate", map[string]any{"url": demo(t)})
	row := rowOfTarget("target:tcp#primary")
	b.await("that all is well", `document.querySelector("h1").innerText.includes("All replicas are healthy")`)
	b.await("the strip of the last verdicts", row+`.querySelectorAll(".strip rect.healthy").length > 1`)
	b.await("the promise", `document.querySelector(".promise").innerText.includes("Reports on time: worst gap 1")`)

	b.eval(`document.getElementById("do target:tcp#primary").click()`)
	b.await("the replica red", row+`.querySelector(".pill.dead") !== null`)
	b.await("the daemon's reason", row+`.innerText.includes("connection refused")`)
	b.await("a dead verdict in the strip", row+`.querySelectorAll(".strip rect.dead").length > 0`)
	if other := b.eval(rowOfTarget("target:http#web") + `.querySelector(".pill").innerText`); other != "Healthy" {
		t.Errorf("got the other replica shown %v, want Healthy", other)
	}
	b.eval(`document.getElementById("do target:tcp#primary").click()`)
	b.await("the replica back", row+`.querySelector(".pill.healthy") !== null && !`+row+`.querySelector(".reason")`)

	b.breakAPI("503", "20s")
	b.await("the daemon's words about the API", `document.getElementById("daemon")?.innerText.includes("the Status API is down since")`)
	for broken := true; broken; time.Sleep(100 * time.Millisecond) {
		if b.eval(noneLate) == false {
			t.Fatal("a replica is late while the API is broken for 20 s")
		}
		broken = b.eval(`document.body.innerText.includes("broken on purpose")`) != false
	}
	b.await("that all is well again", `!document.getElementById("daemon") && document.querySelector("h1").innerText.includes("All replicas are healthy")`)
}

func TestThePageSaysThatTheAPIWasDownTooLong(t *testing.T) {
	if testing.Short() {
		t.Skip("a replica is late after 40 s")
	}
	t.Parallel()
	b := newBrowser(t)
	b.call("Page.navigate", map[string]any{"url": demo(t)})
	b.await("that all is well", `document.querySelector("h1").innerText.includes("All replicas are healthy")`)
	b.breakAPI("hang", "60s")
	b.await("that all replicas are late", `!(`+noneLate+`) && document.querySelector("h1").innerText.includes("2 of 2 replicas are down")`)
	if text := fmt.Sprint(b.eval(`document.body.innerText`)); !strings.Contains(text, "last reported healthy") {
		t.Errorf("got the page %s, want that the replicas were healthy", text)
	}
	b.breakAPI("normal", "")
	b.await("that all is well again", `document.querySelector("h1").innerText.includes("All replicas are healthy")`)
}

func TestAGroupInABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds to start")
	}
	b := newBrowser(t)
	program := builtDaemon(t)
	alone(t)
	g := startGroup(t, "--interval", "1s", "--map", writeMap(t), "--members", "2", "--engine", "alive", "--", program, "-c", "{config}")
	b.call("Page.navigate", map[string]any{"url": g.page})
	b.await("what both daemons say", `[...document.querySelectorAll("#daemons .duty")].filter((d) => d.innerText.startsWith("reports only healthy and sick")).length === 2`)
	b.await("who reported a replica", rowOfTarget("target:tcp")+`.innerText.includes("by host-")`)
	row := `[...document.querySelectorAll("#daemons li")].find((l) => l.innerText.startsWith("host-a"))`
	for _, tt := range []struct {
		do   action
		want string
	}{{kill, "killed"}, {start, "running"}, {freeze, "frozen"}, {thaw, "running"}} {
		b.await("the button", fmt.Sprintf(`document.getElementById("do host-a %s") !== null`, tt.do))
		b.eval(fmt.Sprintf(`document.getElementById("do host-a %s").click()`, tt.do))
		b.await("host-a "+tt.want, row+fmt.Sprintf(`.innerText.includes(%q)`, tt.want))
	}
	b.await("the reports of the other", `[...document.querySelectorAll("#daemons li")].find((l) => l.innerText.startsWith("host-b")).innerText.includes("reported just now")`)
	if late := b.eval(noneLate); late != true {
		t.Error("a replica is late, though one of two daemons ran all the time")
	}
}
