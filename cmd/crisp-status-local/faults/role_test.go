//go:build faults

package faults

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// roleVariable makes the tests' program a helper of a test: "listen PORT…" takes
// ports, "busy" computes, "connect ADDRESS TIMES" opens and closes connections.
const roleVariable = "CRISP_FAULTS_ROLE"

// play plays a role until it is killed, and says when it has begun.
func play(role string) {
	words := strings.Fields(role)
	switch words[0] {
	case "listen":
		for _, port := range words[1:] {
			if _, err := net.Listen("tcp", ":"+port); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
	case "busy":
		fmt.Println("ready")
		for n := uint64(1); n != 0; n += 2 { // which it never is
		}
	case "connect":
		var times int
		fmt.Sscan(words[2], &times)
		for range times {
			if conn, err := net.DialTimeout("tcp", words[1], 5*time.Second); err == nil {
				conn.Close()
			}
		}
	}
	fmt.Println("ready")
	if words[0] != "connect" {
		select {}
	}
}

// helper starts a role in the near namespace, waits until it has begun, and returns
// what ends it.
func (l *lab) helper(role ...string) func() { return l.helperBy(nil, role...) }

// helperBy is helper with a command that runs it.
func (l *lab) helperBy(wrapper []string, role ...string) func() {
	l.t.Helper()
	args := append([]string{"-t", fmt.Sprint(l.wire.near), "-n"}, wrapper...)
	cmd := exec.Command("nsenter", append(args, "/proc/self/exe")...)
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd.Args[len(cmd.Args)-1] = self
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.Join(role, " "))
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		l.t.Fatalf("the helper %q said %q, want ready", role, line)
	}
	end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	l.t.Cleanup(end)
	return end
}
