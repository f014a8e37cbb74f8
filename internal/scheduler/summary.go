package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
)

// Summary is the state of the scheduler in a few numbers.
type Summary struct {
	HasMap              bool
	Replicas            int // of the map
	Healthy, Sick, Dead int // by their last verdicts; the rest have none yet
	NextCycle           time.Time
}

// Summary asks Run for its state; the error says that it does not respond.
func (s *Scheduler) Summary(ctx context.Context) (Summary, error) {
	answer := make(chan Summary, 1)
	select {
	case s.summaries <- answer:
		return <-answer, nil
	case <-ctx.Done():
		return Summary{}, fmt.Errorf("the scheduler does not respond: %w", context.Cause(ctx))
	}
}

// summarize returns the state of the scheduler.
func (s *Scheduler) summarize() Summary {
	sum := Summary{HasMap: s.currentMap != nil, Replicas: s.mapSize(), NextCycle: s.cycleStart.Add(s.settings.Interval)}
	for _, r := range s.replicas {
		switch {
		case r.phase == gone:
		case r.health == probe.Healthy:
			sum.Healthy++
		case r.health == probe.Sick:
			sum.Sick++
		case r.health == probe.Dead:
			sum.Dead++
		}
	}
	return sum
}
