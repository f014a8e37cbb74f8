package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestReadProcess(t *testing.T) {
	const spent = 0.1 // seconds, and more than what getrusage is behind by: a tick for each thread that runs
	for start := ownCPU(); ownCPU()-start < spent; {
	}
	before := ownCPU()
	r, ok := readProcess(os.Getpid())
	if !ok {
		t.Fatal("what this process takes cannot be read")
	}
	if got := r.cpu.Seconds(); got < before-spent/2 {
		t.Errorf("got %vs of CPU, want %vs or more", got, before)
	}
	for ownCPU()-before < spent {
	}
	if after := ownCPU(); r.cpu.Seconds() > after {
		t.Errorf("got %vs of CPU, want %vs at most", r.cpu.Seconds(), after)
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
