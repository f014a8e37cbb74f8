package judge

import (
	"math"
	"slices"
	"time"
)

// mostDurations bounds the memory of a sandbox that runs for weeks: 8 MB for each
// health.
const mostDurations = 1 << 20

// durations are the newest durations, mostDurations of them. The zero value is
// empty.
type durations struct {
	newest  []time.Duration
	total   int
	longest time.Duration // of all, not only of the newest
}

func (d *durations) add(one time.Duration) {
	if len(d.newest) < mostDurations {
		d.newest = append(d.newest, one)
	} else {
		d.newest[d.total%mostDurations] = one
	}
	d.total++
	d.longest = max(d.longest, one)
}

// snapshot returns a copy, to be sorted while more are added.
func (d *durations) snapshot() durations {
	return durations{slices.Clone(d.newest), d.total, d.longest}
}

// merge adds all of the other.
func (d *durations) merge(other durations) {
	d.newest = append(d.newest, other.newest...)
	d.total += other.total
	d.longest = max(d.longest, other.longest)
}

// quantiles sorts the durations and returns their quantiles.
func (d *durations) quantiles() Quantiles {
	slices.Sort(d.newest)
	return Quantiles{d.total, d.quantile(0.5).Seconds(), d.quantile(0.99).Seconds(), d.longest.Seconds()}
}

// quantile returns the longest of the given share, 0 to 1, of the durations, which
// are sorted; 0 if there are none.
func (d *durations) quantile(share float64) time.Duration {
	if len(d.newest) == 0 {
		return 0
	}
	rank := int(math.Ceil(share * float64(len(d.newest))))
	return d.newest[max(rank, 1)-1]
}
