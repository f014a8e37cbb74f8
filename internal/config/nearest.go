package config

import (
	"slices"
	"strings"
)

// tables returns the names of all tables a file may hold.
func tables() []string { return []string{"server", "report", "probe"} }

// keys returns the names of all keys a file may hold.
func keys() []string {
	return []string{
		"server.log_level",
		"report.endpoint", "report.token", "report.token_file",
		"probe.interval", "probe.workers", "probe.ca_file",
	}
}

func isTable(name string) bool { return slices.Contains(tables(), name) }
func isKey(name string) bool   { return slices.Contains(keys(), name) }

// nearest returns the known key or table that is spelt most like name. A key
// in the wrong table is as good as one with a letter wrong: token alone is
// nearest to report.token.
func nearest(name string) string {
	return slices.MinFunc(slices.Concat(keys(), tables()), func(a, b string) int {
		return distance(name, a) - distance(name, b)
	})
}

// distance is the edit distance of two names, or of their last parts plus one.
func distance(a, b string) int {
	whole := levenshtein(a, b)
	last := levenshtein(a[strings.LastIndex(a, ".")+1:], b[strings.LastIndex(b, ".")+1:])
	return min(whole, last+1)
}

// levenshtein returns how many bytes must be inserted, deleted or replaced to
// make b of a.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1) // distances of what was read of a to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
