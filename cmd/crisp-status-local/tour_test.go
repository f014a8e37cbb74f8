package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTourLeadsToTheCode holds internal/README.md to the code: every file that it
// names is there, and declares the names that follow it.
func TestTourLeadsToTheCode(t *testing.T) {
	const folder = "../../internal"
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Skipf("the source is not beside the test binary: %v", err)
	}
	place := regexp.MustCompile("`([a-z]+/[a-z_]+\\.go)`((?:,? `[A-Za-z.]+`)*)")
	name := regexp.MustCompile("`(?:[A-Za-z]+\\.)?([A-Za-z]+)`")
	places := place.FindAllStringSubmatch(strings.ReplaceAll(string(text), "cmd/crisp-status-local/", ""), -1)
	if len(places) < 20 {
		t.Fatalf("got %d files in internal/README.md, want the way of a replica URL through the code", len(places))
	}
	for _, p := range places {
		code, err := os.ReadFile(filepath.Join(folder, p[1]))
		if err != nil {
			t.Errorf("internal/README.md names a file that cannot be read: %v", err)
			continue
		}
		for _, n := range name.FindAllStringSubmatch(p[2], -1) {
			declared := regexp.MustCompile(`(?m)^(func (\([^)]*\) )?|type |var |const |\t)` + n[1] + `\b`)
			if !declared.Match(code) {
				t.Errorf("internal/README.md has %s in %s, want a name that is declared there", n[1], p[1])
			}
		}
	}
}
