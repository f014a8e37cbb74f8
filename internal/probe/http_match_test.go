package probe

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestFinderAgreesWithBytesContains: over random texts of few letters, where
// matches overlap with themselves, in random pieces.
func TestFinderAgreesWithBytesContains(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	letters := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[r.IntN(2)]
		}
		return b
	}
	found := 0
	for range 50_000 {
		match, body := string(letters(1+r.IntN(8))), letters(r.IntN(60))
		f, got := finder{pattern: newPattern(match)}, false
		for rest := body; len(rest) > 0 && !got; {
			n := 1 + r.IntN(len(rest))
			got = f.finds(rest[:n])
			rest = rest[n:]
		}
		want := bytes.Contains(body, []byte(match))
		if got != want {
			t.Fatalf("%q in %q: got %t, want %t", match, body, got, want)
		}
		if want {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("found %d times, want often, or nothing was tried", found)
	}
}

// FuzzFinder: it agrees with package bytes on whatever text, cut anywhere.
func FuzzFinder(f *testing.F) {
	f.Add("aab", "aaab", uint8(2))
	f.Add(strings.Repeat("ab", 100)+"c", strings.Repeat("ab", 200)+"c", uint8(7))
	f.Fuzz(func(t *testing.T, match, body string, size uint8) {
		if match == "" || len(match) > MaxMatch || size == 0 {
			return
		}
		f, got := finder{pattern: newPattern(match)}, false
		for rest := body; rest != "" && !got; {
			n := min(int(size), len(rest))
			got = f.finds([]byte(rest[:n]))
			rest = rest[n:]
		}
		if want := strings.Contains(body, match); got != want {
			t.Errorf("%q in %q by %d: got %t, want %t", match, body, size, got, want)
		}
	})
}

// dripping is a body that gives a byte and then waits until it is released.
type dripping struct {
	first   bool
	waiting *sync.WaitGroup
	release chan struct{}
}

func (d *dripping) Read(b []byte) (int, error) {
	if !d.first {
		d.first = true
		b[0] = 'x'
		return 1, nil
	}
	d.waiting.Done()
	<-d.release
	return 0, io.EOF
}

// TestDrippingBodiesCostNoMemory: a thousand that are waited for, under rules with
// the longest matches, hold a piece and a stack each, beside one table.
func TestDrippingBodiesCostNoMemory(t *testing.T) {
	const bodies, most = 1000, 16 << 10 // bytes of each
	rules := &Rules{HealthyMatch: strings.Repeat("x", MaxMatch), DeadMatch: strings.Repeat("y", MaxMatch)}
	rules.Compile()
	var waiting, over sync.WaitGroup
	release := make(chan struct{})
	cost := allocated(func() {
		waiting.Add(bodies)
		for range bodies {
			over.Go(func() { _ = rules.search(&dripping{waiting: &waiting, release: release}, within(time.Hour)) })
		}
		waiting.Wait()
	})
	close(release)
	over.Wait()
	if cost > bodies*most {
		t.Errorf("%d bytes for each body that is waited for, want at most %d", cost/bodies, most)
	}
}

// TestTableOfAMatchTakesTwoBytesAByte: a map may have thousands of them.
func TestTableOfAMatchTakesTwoBytesAByte(t *testing.T) {
	text := strings.Repeat("ab", MaxMatch/2)
	if cost := allocated(func() { newPattern(text) }); cost > 2*MaxMatch+1<<10 {
		t.Errorf("%d bytes for a match of %d, want two for each", cost, MaxMatch)
	}
}

func BenchmarkSearch(b *testing.B) {
	body := bytes.Repeat([]byte("<p>lorem ipsum dolor sit amet</p>\n"), 32<<10)
	rules := &Rules{HealthyMatch: "the end of it", DeadMatch: "maintenance"}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		_ = rules.search(bytes.NewReader(body), within(time.Hour))
	}
}
