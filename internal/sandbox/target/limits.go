package target

import "time"

// Limits are the limits of a map as the daemon must understand them: defaults
// filled in, numbers clamped.
type Limits struct {
	Retry     int
	DeadAfter time.Duration
	SickAfter time.Duration // 0: never sick
}
