package scheduler

import (
	"os"
	"runtime"
	"testing"
)

// TestMain runs the tests on one processor. Under the race detector, two that run
// the timers of one bubble at the same time spoil its record of them, and it ends
// the program (golang/go#78156): with thousands of timers, one run in twenty. What
// it finds goes by what happens before what, not by what happens at once.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}
