package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestReadProcess(t *testing.T) {
	before := ownCPU()
	for start := before; ownCPU()-start < 0.1; {
	}
	r, ok := readProcess(os.Getpid())
	after := ownCPU()
	if !ok {
		t.Fatal("what this process takes cannot be read")
	}
	// What a thread has used since the last tick is in one clock and not yet in the other.
	const ticks = 0.05
	if got := r.cpu.Seconds(); got < before+0.1 || got > after+ticks {
		t.Errorf("got %vs of CPU, want %vs to %vs", got, before+0.1, after+ticks)
	}
	if r.resident <= 0 || r.peak < r.resident {
		t.Errorf("got %v MiB resident and %v at most, want some, and no more than at most", r.resident, r.peak)
	}
}

func TestReadProcessThatIsGone(t *testing.T) {
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	nobody := gone.Process.Pid
	if r, ok := readProcess(nobody); ok {
		t.Errorf("got %v of a process that is not there, want nothing", r)
	}
	if cpu, ok := cpuOf(nobody); ok {
		t.Errorf("got %v of a process that is not there, want nothing", cpu.Round(time.Millisecond))
	}
}
