//go:build linux

package main

import (
	"crypto/x509"
	"math"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
)

func TestCgroupMemory(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, tt := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"none": {fstest.MapFS{}, 0},
		"version 2, its own": {fstest.MapFS{
			"proc/self/cgroup":                           file("0::/a.slice/b.service\n"),
			"sys/fs/cgroup/a.slice/memory.max":           file("max\n"),
			"sys/fs/cgroup/a.slice/b.service/memory.max": file("67108864\n"),
		}, 64 << 20},
		"version 2, one above": {fstest.MapFS{
			"proc/self/cgroup":                           file("0::/a.slice/b.service\n"),
			"sys/fs/cgroup/a.slice/memory.max":           file("1048576\n"),
			"sys/fs/cgroup/a.slice/b.service/memory.max": file("67108864\n"),
		}, 1 << 20},
		"version 2, in a container": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("33554432\n"),
		}, 32 << 20},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup":                             file("9:cpu,cpuacct:/c\n4:memory:/c\n0::/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": file("33554432\n"),
		}, 32 << 20},
		"version 1, a path of the host": {fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/../docker/c\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("33554432\n"),
		}, 32 << 20},
		"no limit":   {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, 0},
		"no numbers": {fstest.MapFS{"proc/self/cgroup": file("x\n0::/\n"), "sys/fs/cgroup/memory.max": file("-x\n")}, 0},
	} {
		if got := cgroupMemory(tt.files); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}

// TestMemoryLimitIsThatOfTheCgroup less a tenth, unless the environment has another.
func TestMemoryLimitIsThatOfTheCgroup(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(7 << 20) // as Go itself takes GOMEMLIMIT=7MiB
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	limited := fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("100000000\n")}
	for said, want := range map[string]int64{"": 90_000_000, "7MiB": 7 << 20} {
		d := &daemon{sys: system{lookupEnv: func(string) (string, bool) { return said, said != "" }}}
		if got := d.memoryLimitIn(limited); got != want {
			t.Errorf("GOMEMLIMIT=%s and a cgroup of 100 MB: got a limit of %d, want %d", said, got, want)
		}
	}
}

func TestEmptyMemoryLimitIsNone(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(math.MaxInt64) // as Go itself takes an empty variable
	for said, want := range map[string]int64{"": largestMemory, "off": math.MaxInt64} {
		d := &daemon{sys: system{lookupEnv: func(string) (string, bool) { return said, true }}}
		d.limitMemory()
		if got := debug.SetMemoryLimit(math.MaxInt64); got > want || said == "off" && got != want {
			t.Errorf("GOMEMLIMIT=%s: got a limit of %d, want %d, or that of the cgroup", said, got, want)
		}
	}
}

// TestReplicasForSoMuchMemory: what the smallest containers have is enough for what they
// watch today.
func TestReplicasForSoMuchMemory(t *testing.T) {
	for memory, want := range map[int64]int{1 << 20: 1000, 32 << 20: 12_288, 64 << 20: 36_864, 2 << 30: 1_560_576} {
		if got := replicasFor(memory); got != want {
			t.Errorf("%d MiB: got %d replicas, want %d", memory>>20, got, want)
		}
	}
}

// rootsVariable, when it is set, has the arguments of the program whose roots a test
// is to look at in its own process.
const rootsVariable = "CRISP_STATUS_LOCAL_TEST_ROOTS"

// TestRootsWithoutABundle: a host that has no certificates trusts those that the
// program carries, or it could never ask for a map.
func TestRootsWithoutABundle(t *testing.T) {
	if args, set := os.LookupEnv(rootsVariable); set {
		started(t.Context(), t, strings.Fields(args)...)
		// What its issuer is found by says that the roots are there.
		_, err := new(x509.Certificate).Verify(x509.VerifyOptions{})
		if _, none := err.(x509.SystemRootsError); none {
			t.Errorf("got %v, want roots", err)
		}
		if pool, err := x509.SystemCertPool(); err != nil || pool.Equal(x509.NewCertPool()) {
			t.Errorf("got an empty pool (%v), want the public authorities", err)
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"-c /nowhere.cfg", "check -c /nowhere.cfg", "once -c /nowhere.cfg", "probe --retry 0 tcp://127.0.0.1:1"} {
		cmd := exec.Command(self, "-test.run=^TestRootsWithoutABundle$")
		cmd.Env = append(os.Environ(), rootsVariable+"="+args, "SSL_CERT_FILE=/dev/null", "SSL_CERT_DIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", args, err, out)
		}
	}
}

// FuzzCgroup holds whatever the kernel, or what stands in for it, has in these files to
// this: there is a limit, or none.
func FuzzCgroup(f *testing.F) {
	for groups, limit := range map[string]string{
		"0::/a/b\n": "33554432\n", "9:cpu:/c\n4:memory:/../d\n0::/\n": "max", "4:memory:": "-1", "0:://///\x00\n": "9223372036854771712", "0:::/../../..": "1e9", "0::a": " 7",
	} {
		f.Add(groups, limit)
	}
	f.Fuzz(func(t *testing.T, groups, limit string) {
		root := fstest.MapFS{"proc/self/cgroup": &fstest.MapFile{Data: []byte(groups)}}
		for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/a/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
			root[name] = &fstest.MapFile{Data: []byte(limit)}
		}
		if got := cgroupMemory(root); got < 0 || got > 1<<60 {
			t.Errorf("got a limit of %d", got)
		}
		if got := replicasFor(cgroupMemory(root)); got < 1000 {
			t.Errorf("got %d replicas", got)
		}
	})
}
