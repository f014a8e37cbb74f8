package logging

import "time"

// The most that is written in any minute. Debug lines have a budget of their own,
// since an operator asks for one line per probe with that level.
const (
	Budget      = 64 << 10
	DebugBudget = 16 << 20
)

const (
	minute    = time.Minute
	slots     = 6
	slot      = minute / slots
	usualLine = 4 << 10 // bytes; nearly every line is shorter
	tellLine  = 256     // bytes, the longest line about lost ones
)

// budget bounds the bytes of any minute: it counts them by slot, the current
// one and those that a minute before now reaches into.
type budget struct {
	limit  int
	spent  [slots + 1]int // the current slot's first
	began  time.Time      // of the current slot
	closed bool           // a usual line did not fit in this slot: no other is tried
}

// advance begins the slot of now.
func (b *budget) advance(now time.Time) {
	past := int(min(now.Sub(b.began)/slot, slots+1))
	if past <= 0 {
		return
	}
	b.began, b.closed = b.began.Add(now.Sub(b.began)/slot*slot), false
	kept := b.spent
	b.spent = [slots + 1]int{}
	copy(b.spent[past:], kept[:])
}

// total returns what was spent in this minute.
func (b *budget) total() int {
	sum := 0
	for _, n := range b.spent {
		sum += n
	}
	return sum
}

// fits reports whether n more bytes may be written.
func (b *budget) fits(n int) bool { return b.total()+n <= b.limit }

// spend takes n bytes if they fit. Once a usual line did not, the rest of the
// slot is given up, so that no line is formatted that is then left out.
func (b *budget) spend(n int) bool {
	if b.closed || !b.fits(n) {
		b.closed = b.closed || n <= usualLine
		return false
	}
	b.spent[0] += n
	return true
}
