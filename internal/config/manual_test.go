package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManualKnowsEveryKey: the manual page and README have the keys that the
// program has, with their defaults and bounds.
func TestManualKnowsEveryKey(t *testing.T) {
	facts := map[string][]string{
		"server.log_level":  {"debug", "info", "warn", "error"},
		"server.log_format": {string(Text), string(JSON)},
		"report.endpoint":   {defaultEndpoint},
		"cluster.engine":    {string(NoEngine), string(Alive), string(Address), string(Etcd)},
		"cluster.group":     {defaultGroup},
		"cluster.ttl":       {fmt.Sprint(defaultTTL), fmt.Sprintf("%d to %d", minTTL, maxTTL)},
		"probe.interval":    {fmt.Sprint(defaultInterval), fmt.Sprintf("%d to %d", minInterval, maxInterval)},
	}
	manual := text(t, "../../debian/crisp-status-local.cfg.5")
	var got []string
	for _, table := range regexp.MustCompile(`(?s)\.SH \[(\w+)\]\n(.*?)\n\.SH `).FindAllStringSubmatch(strings.ReplaceAll(manual, ".SH [", ".SH \n.SH ["), -1) {
		for _, key := range regexp.MustCompile(`(?m)^\.TP\n\.B (\w+)\n((?:[^.].*\n|\.[^T].*\n?)*)`).FindAllStringSubmatch(table[2]+"\n", -1) {
			name := table[1] + "." + key[1]
			got = append(got, name)
			for _, fact := range facts[name] {
				if !strings.Contains(key[2], fact) {
					t.Errorf("the manual page says of %s\n%swant %q in it", name, key[2], fact)
				}
			}
		}
	}
	if !slices.Equal(got, keys()) {
		t.Errorf("the manual page has the keys %q, want %q", got, keys())
	}

	readme := text(t, "../../README.md")
	for _, name := range keys() {
		table, key, _ := strings.Cut(name, ".")
		_, row, found := strings.Cut(readme, "\n| `["+table+"] "+key+"` |")
		row, _, _ = strings.Cut(row, "\n")
		if !found {
			t.Errorf("README.md has no row about %s", name)
		}
		for _, fact := range facts[name] {
			if !strings.Contains(row, fact) {
				t.Errorf("README.md says of %s %q, want %q in it", name, row, fact)
			}
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
