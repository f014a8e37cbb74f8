package probe

import (
	"sync"
	"time"
)

const (
	// neighbourTime is how long an echo to an absent neighbour occupies the send buffer:
	// three address requests (ARP, ND), a second apart.
	neighbourTime = 3 * time.Second
	// queuedEcho is what an echo takes of the send buffer, in bytes, at most.
	queuedEcho = 1 << 10
	leastSpare = 32
)

// spareEchoes bounds the echoes that follow others, so that those to absent
// neighbours leave most of the send buffer to the first ones: an echo that finds no
// room is this host's trouble.
type spareEchoes struct {
	most int // in neighbourTime

	mu    sync.Mutex // protects all following fields
	began time.Time
	taken int
}

// spareOf returns how many echoes that follow others may wait in a send buffer of so many
// bytes, as the kernel counts them: twice what it was asked for. They take a quarter of
// what it was asked for.
func spareOf(room int) int { return max(leastSpare, room/8/queuedEcho) }

// take reports whether another echo may be sent now.
func (s *spareEchoes) take(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.began) >= neighbourTime {
		s.began, s.taken = now, 0
	}
	if s.taken >= s.most {
		return false
	}
	s.taken++
	return true
}
