package scheduler

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

type fetchFunc func(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error)

func (f fetchFunc) FetchMap(ctx context.Context, prev *statusapi.Map) (*statusapi.Map, error) {
	return f(ctx, prev)
}

// judge is a Prober's Probe.
type judge = func(context.Context, probe.Task) probe.Result

// gives answers every map request with m at once.
func gives(m *statusapi.Map) fetchFunc {
	return func(context.Context, *statusapi.Map) (*statusapi.Map, error) { return m, nil }
}

// fails answers every map request with err at once.
func fails(err error) fetchFunc {
	return func(context.Context, *statusapi.Map) (*statusapi.Map, error) { return nil, err }
}

// hangs answers no map request before it is cancelled.
func hangs(ctx context.Context, _ *statusapi.Map) (*statusapi.Map, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

var (
	errDown  = errors.New("fetching the map: status 500 (Internal Server Error)")
	errMap   = errors.New("map breaks off before its end")
	errLocal = errors.New("this process has too many open files (raise its limit: LimitNOFILE= or ulimit -n)")
	errDead  = errors.New("connection refused")
)

// lasts is a prober whose probes take so long, unless they are cancelled.
func lasts(d time.Duration, result probe.Result) judge {
	return func(ctx context.Context, _ probe.Task) probe.Result {
		select {
		case <-ctx.Done():
			return probe.Result{Err: ctx.Err()}
		case <-time.After(d):
			return result
		}
	}
}

// byReplica is a prober that judges each replica by its own.
func byReplica(judges map[string]judge) judge {
	return func(ctx context.Context, task probe.Task) probe.Result {
		if own := judges[task.Check.Target.ID()]; own != nil {
			return own(ctx, task)
		}
		return healthy
	}
}

var (
	healthy = probe.Result{Health: probe.Healthy, Attempts: 1}
	dead    = probe.Result{Health: probe.Dead, Attempts: 3, Latency: 3 * time.Millisecond, Err: errDead}
	slow    = probe.Result{Health: probe.Sick, Attempts: 3}
	local   = probe.Result{Attempts: 4, Err: errLocal}
)

// check returns the check of a replica of service "service" and node "node".
func check(t *testing.T, replica string, rules *probe.Rules) probe.Check {
	t.Helper()
	target, err := probe.ParseTarget(replica)
	if err != nil {
		t.Fatal(err)
	}
	return probe.Check{ServiceID: "service", NodeID: "node", Target: target, Rules: rules}
}

// mapOf returns a map of the replicas.
func mapOf(t *testing.T, replicas ...string) *statusapi.Map {
	t.Helper()
	m := &statusapi.Map{}
	for _, replica := range replicas {
		m.Checks = append(m.Checks, check(t, replica, nil))
	}
	return m
}

// names returns n replicas, from the one numbered first.
func names(first, n int) []string {
	var replicas []string
	for i := range n {
		replicas = append(replicas, fmt.Sprintf("tcp://r%06d:1", first+i))
	}
	return replicas
}
