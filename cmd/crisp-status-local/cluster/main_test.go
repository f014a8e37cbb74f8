//go:build cluster

package cluster

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/cmd/crisp-status-local/namespaces"
)

// otherClocks is the tag of a daemon whose boot clock may run at another rate.
const otherClocks = "faults"

func TestMain(m *testing.M) { os.Exit(namespaces.Main(m, otherClocks, newerFormat)) }

// inside is namespaces.Inside, with the tools that every case needs.
func inside(t *testing.T, tools ...string) bool {
	t.Helper()
	return namespaces.Inside(t, append([]string{"etcd"}, tools...)...)
}

// rounds returns the number of rounds of a short fault.
func rounds() int {
	if n, err := strconv.Atoi(os.Getenv("CRISP_CLUSTER_ROUNDS")); err == nil && n > 0 {
		return n
	}
	return 2
}

// full reports whether the run includes the slow cases.
func full() bool { return rounds() >= 10 }

// strict reports whether the promised times are to be kept, not only those that the
// page needs.
func strict() bool { return os.Getenv("CRISP_CLUSTER_STRICT") != "" }

// during returns a variable's duration.
func during(t *testing.T, variable string, otherwise time.Duration) time.Duration {
	t.Helper()
	given := os.Getenv(variable)
	if given == "" {
		return otherwise
	}
	d, err := time.ParseDuration(given)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d
}
