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

// TestEveryBudgetHasATest holds the table of budgets to what it says of itself.
func TestEveryBudgetHasATest(t *testing.T) {
	text, err := os.ReadFile("../../internal/README.md")
	if err != nil {
		t.Skipf("the source is not beside the test binary: %v", err)
	}
	_, after, _ := strings.Cut(string(text), "\n## Budgets\n")
	table, _, _ := strings.Cut(after, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what ") {
			continue
		}
		rows++
		if !strings.Contains(line, "`Test") && !strings.Contains(line, "the same test") {
			t.Errorf("no test is named in the row %.80s…", line)
		}
	}
	if rows < 20 {
		t.Errorf("got %d rows of the table of budgets, want it", rows)
	}
}
