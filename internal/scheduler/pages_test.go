package scheduler

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

func TestPagesOfTheProgramAreReleased(t *testing.T) {
	resident := func() (pages int) {
		b, err := os.ReadFile("/proc/self/statm")
		if err == nil {
			var size, all int
			_, err = fmt.Sscan(string(b), &size, &all, &pages)
		}
		if err != nil {
			t.Fatal(err)
		}
		return pages
	}
	var before, after int
	for range 100 { // tests beside this one touch pages all the time
		before = resident()
		releasePages()
		if after = resident(); after < before {
			return
		}
	}
	t.Errorf("got %d pages of files resident, want fewer than the %d before", after, before)
}

func TestPagesThatWereWrittenAreKept(t *testing.T) {
	const smaps = `00400000-00957000 r-xp 00000000 fe:00 1234    /usr/bin/crisp-status-local
Rss:                5020 kB
Anonymous:             0 kB
AnonHugePages:         0 kB
00957000-00f32000 r--p 00557000 fe:00 1234    /usr/bin/relocated before it became read-only
Anonymous:             4 kB
00f32000-00fcc000 rw-p 00b32000 fe:00 1234    /usr/bin/writable
Anonymous:             0 kB
7f78d2ccf000-7f78d2cd1000 r-xp 00000000 00:00 0    [vdso]
Anonymous:             0 kB
7f78d2cd1000-7f78d2cd2000 r--p 00000000 00:00 0
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x957000}}
	if got := unwrittenMappings(smaps); !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}
