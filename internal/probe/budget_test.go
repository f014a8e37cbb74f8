package probe

import (
	"context"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/pace"
)

// MaxProbe is the most that the daemon lets a probe take.
const MaxProbe = pace.LongestProbe

// probe judges c within a budget.
func (p *Prober) probe(ctx context.Context, c Check, budget time.Duration) Result {
	return p.Probe(ctx, Task{Check: c, Budget: budget})
}

// Budget is what a probe is given every interval.
func Budget(interval time.Duration) time.Duration { return min(interval/2, MaxProbe) }
