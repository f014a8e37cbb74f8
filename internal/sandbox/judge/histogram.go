package judge

import (
	"math"
	"time"
)

// histogram counts durations in buckets that grow by two percent each, from a
// tenth of a millisecond to more than an hour: exact enough for a table, and of
// the same size for ten reports and for ten million. The zero value is empty.
type histogram struct {
	counts  [900]int
	total   int
	longest time.Duration
}

const (
	smallest = 100 * time.Microsecond
	growth   = 1.02
)

func (h *histogram) add(d time.Duration) {
	bucket := 0
	if d > smallest {
		bucket = 1 + int(math.Log(float64(d)/float64(smallest))/math.Log(growth))
	}
	h.counts[min(bucket, len(h.counts)-1)]++
	h.total++
	h.longest = max(h.longest, d)
}

// merge adds everything that the other has counted.
func (h *histogram) merge(other *histogram) {
	for bucket, count := range other.counts {
		h.counts[bucket] += count
	}
	h.total += other.total
	h.longest = max(h.longest, other.longest)
}

// quantiles are what a summary says of the durations.
func (h *histogram) quantiles() Quantiles {
	return Quantiles{h.total, h.quantile(0.5).Seconds(), h.quantile(0.99).Seconds(), h.longest.Seconds()}
}

// quantile is the upper end of the bucket that holds the given share, 0 to 1, of
// all durations; 0 when there is none.
func (h *histogram) quantile(share float64) time.Duration {
	rank := int(math.Ceil(share * float64(h.total)))
	seen := 0
	for bucket, count := range h.counts {
		seen += count
		if count > 0 && seen >= rank {
			if bucket == 0 {
				return 0 // the report that began the cycle, and what came with it
			}
			return min(time.Duration(float64(smallest)*math.Pow(growth, float64(bucket))), h.longest)
		}
	}
	return 0
}
