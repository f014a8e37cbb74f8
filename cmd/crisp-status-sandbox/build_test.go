package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestOtherSystemsAreToldInOneSentence(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no Go toolchain")
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(t.TempDir(), "sandbox"), ".")
	build.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err == nil || len(lines) != 2 || !strings.Contains(lines[1], `"crisp-status-sandbox is for Linux only"`) {
		t.Errorf("got %v and\n%s\nwant one error that says so", err, out)
	}
}
