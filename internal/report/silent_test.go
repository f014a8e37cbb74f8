package report

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/probe"
	"github.com/crisp-im/crisp-status-local/v2/internal/statusapi"
)

func TestAPIThatAnswersIsNotSilent(t *testing.T) {
	for name, err := range map[string]error{
		"takes": nil, "is down": refusing(500, 0), "throttles": refusing(429, 0), "refuses the token": refusing(401, 0),
		"knows no replica": refusing(404, 0), "rejects": refusing(422, 0), "is behind a web page": statusapi.ErrWebPage, "disconnects": &statusapi.DisconnectedError{Reason: "EOF"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10, time.Minute, always(err, 4*time.Second))
			defer b.stop()
			for i := range 10 {
				b.Put(verdict(i, 1, probe.Healthy))
				time.Sleep(3 * time.Second)
				if silent(b.Outbox) {
					t.Fatalf("an API that %s: got silent after %d reports, want not", name, i+1)
				}
			}
		})
	}
}

// silent reports whether the API is.
func silent(o *Outbox) bool {
	began, _ := o.Silence()
	return !began.IsZero()
}

// TestAPIWithoutAnswersIsSilent: it is when a request has failed, or hung for the time
// that a status line may take; and it is no more with the first answer, which Stale
// tells of.
func TestAPIWithoutAnswersIsSilent(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // until it is known
		lasts time.Duration // of a request
	}{
		{"refuses connections", 0, 0},
		{"hangs", 5 * time.Second, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10, time.Minute, always(nil, time.Millisecond))
			defer b.stop()
			put := func() {
				for i := range 10 {
					b.Put(verdict(i, 1, probe.Healthy))
				}
			}
			put()
			time.Sleep(time.Minute)
			b.Reload(reporterFunc(func(ctx context.Context, _ statusapi.Verdict, _ time.Duration) error {
				select {
				case <-time.After(tt.lasts):
					return errUnreachable
				case <-ctx.Done():
					return ctx.Err()
				}
			}), Terms{time.Minute, time.Minute})
			put()
			synctest.Wait()
			if tt.after > 0 && silent(b.Outbox) {
				t.Errorf("an API that %s: got silent at once, want after %v", tt.name, tt.after)
			}
			time.Sleep(tt.after)
			synctest.Wait()
			for range 60 {
				if !silent(b.Outbox) {
					t.Fatalf("an API that %s: got not silent, want silent until it answers", tt.name)
				}
				time.Sleep(time.Second)
			}
			select {
			case <-b.Stale():
				t.Errorf("an API that %s: Stale had a value before an answer", tt.name)
			default:
			}
			b.Reload(reporterFunc(b.report), Terms{time.Minute, time.Minute})
			time.Sleep(time.Minute)
			if silent(b.Outbox) {
				t.Errorf("an API that %s and answers again: got silent, want not", tt.name)
			}
			select {
			case <-b.Stale():
			default:
				t.Errorf("an API that %s and answers again: Stale had no value", tt.name)
			}
		})
	}
}

// network is a way to the API on which requests are held up, or fail, while it is down. One
// that is held up is delivered when the network is whole again, even if its caller has given
// it up, unless its connection was severed.
type network struct {
	mu      sync.Mutex
	mends   chan struct{} // closed when it is whole; nil while it is
	fails   bool
	severed chan struct{}
	took    []statusapi.Verdict
}

func (n *network) breaks(fails bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mends, n.severed, n.fails = make(chan struct{}), make(chan struct{}), fails
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mends != nil {
		close(n.mends)
	}
	n.mends, n.fails = nil, false
}

func (n *network) Sever() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.severed != nil {
		close(n.severed)
	}
	n.severed = make(chan struct{})
}

func (n *network) take(v statusapi.Verdict) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.took = append(n.took, v)
}

func (n *network) Report(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
	n.mu.Lock()
	mends, severed, fails := n.mends, n.severed, n.fails
	n.mu.Unlock()
	switch {
	case fails:
		return errUnreachable
	case mends == nil:
		n.take(v)
		return nil
	}
	answered := make(chan error, 1)
	go func() {
		select {
		case <-mends:
			n.take(v)
			answered <- nil
		case <-severed:
			answered <- errUnreachable
		}
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deaths returns the replicas that were reported dead.
func (n *network) deaths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, v := range n.took {
		if v.Health == probe.Dead {
			all = append(all, v.ID.Replica)
		}
	}
	return all
}

// TestDeathThatTheAPIDidNotTakeIsRecalled: the network of this host may have failed before
// the replica did. Until another probe has judged it, the page's verdict waits in its place,
// so that there is something by which the API is known to answer again.
func TestDeathThatTheAPIDidNotTakeIsRecalled(t *testing.T) {
	dead := func(b *bench, _ *network) { b.Put(plain(0, probe.Dead)) }
	others := func(h probe.Health) func(b *bench, n *network) {
		return func(b *bench, _ *network) {
			for i := range 9 {
				b.Put(plain(i+1, h))
			}
		}
	}
	breaks := func(fails bool) func(*bench, *network) { return func(_ *bench, n *network) { n.breaks(fails) } }
	after := func(d time.Duration) func(*bench, *network) {
		return func(*bench, *network) { time.Sleep(d); synctest.Wait() }
	}
	for _, tt := range []struct {
		name    string
		happens []func(*bench, *network)
		want    bool // it is recalled
	}{
		{"in flight", []func(*bench, *network){breaks(false), dead, after(5 * time.Second)}, true},
		{"waiting, since connections fail", []func(*bench, *network){breaks(true), dead, after(9 * time.Second)}, true},
		{"while a connection has failed", []func(*bench, *network){breaks(true), dead, after(2 * time.Second), func(_ *bench, n *network) { n.mend() }}, false},
		{"waiting behind a request for the same replica", []func(*bench, *network){breaks(false), func(b *bench, _ *network) { b.Put(plain(0, probe.Sick)) }, dead, after(5 * time.Second)}, true},
		{"waiting behind others", []func(*bench, *network){breaks(false), others(probe.Sick), dead, after(5 * time.Second)}, true},
		{"repeated", []func(*bench, *network){breaks(false), dead, func(b *bench, _ *network) { b.Renew(plain(0, probe.Dead)) }, after(5 * time.Second)}, true},
		{"beside verdicts that are repeated", []func(*bench, *network){breaks(false), dead, func(b *bench, _ *network) { b.Repeat(plain(1, probe.Healthy)) }, after(5 * time.Second)}, true},
		{"before the API is silent", []func(*bench, *network){breaks(false), dead, after(4 * time.Second), func(_ *bench, n *network) { n.mend() }}, false},
		{"another is up since", []func(*bench, *network){breaks(false), dead, others(probe.Sick), after(5 * time.Second)}, false},
		{"another is up since, as before", []func(*bench, *network){breaks(false), dead, func(b *bench, _ *network) { b.Renew(plain(1, probe.Healthy)) }, after(5 * time.Second)}, false},
		{"seen in the silence, which the scheduler knows of", []func(*bench, *network){breaks(false), others(probe.Sick), after(6 * time.Second), dead, after(6 * time.Second)}, false},
		{"the page has it", []func(*bench, *network){dead, after(time.Second), breaks(false), func(b *bench, _ *network) { b.Renew(plain(0, probe.Dead)) }, after(5 * time.Second)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &network{}
				b := newBench(t, 10, time.Minute, nil)
				defer b.stop()
				b.Reload(n, Terms{time.Minute, time.Minute})
				b.Put(plain(0, probe.Healthy))
				others(probe.Healthy)(b, n)
				time.Sleep(50 * time.Second)
				for _, happens := range tt.happens {
					happens(b, n)
				}
				var want []statusapi.Verdict
				if tt.want {
					want = []statusapi.Verdict{plain(0, probe.Healthy)}
				}
				if got := b.TakeRecalled(); !slices.Equal(got, want) {
					t.Errorf("recalled: got what the page has of %v, want %v", got, want)
				}
				if got := b.TakeRecalled(); len(got) != 0 {
					t.Errorf("got %v again, want each once", got)
				}
				time.Sleep(25 * time.Second)
				n.mend()
				time.Sleep(20 * time.Second)
				if got := n.deaths(); (len(got) == 0) != tt.want {
					t.Errorf("reported dead: got %v, want one unless it was recalled", got)
				}
				if began, ended := b.Silence(); !began.IsZero() || tt.want && time.Since(ended) > 21*time.Second {
					t.Errorf("got a silence from %v on, the last one until %v; want none since the network is whole", began, ended)
				}
				if b.Waiting() != 0 {
					t.Errorf("got %d verdicts waiting at last, want none", b.Waiting())
				}
			})
		})
	}
}

// TestDeathIsRecalledOnce: if every replica is dead, and the API takes longer for an answer
// than the time after which it counts as silent, the death is reported all the same.
func TestDeathIsRecalledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1, time.Minute, nil)
		defer b.stop()
		var mu sync.Mutex
		var took []probe.Health
		b.Reload(reporterFunc(func(ctx context.Context, v statusapi.Verdict, _ time.Duration) error {
			err := always(nil, 8*time.Second)(ctx, v, 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				took = append(took, v.Health)
			}
			return err
		}), Terms{time.Minute, time.Minute})
		b.Put(plain(0, probe.Healthy))
		time.Sleep(time.Minute)
		for range 3 { // as the scheduler does, once the API has answered
			b.Put(plain(0, probe.Dead))
			time.Sleep(20 * time.Second)
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []probe.Health{probe.Healthy, probe.Healthy, probe.Dead, probe.Dead}; !slices.Equal(took, want) {
			t.Errorf("the API took %v, want %v", took, want)
		}
	})
}

// TestNothingToSendIsNoSilence: nothing would end it.
func TestNothingToSendIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{}
		b := newBench(t, 1, time.Minute, nil)
		defer b.stop()
		b.Reload(n, Terms{time.Minute, time.Minute})
		n.breaks(true)
		b.Put(plain(0, probe.Healthy))
		time.Sleep(10 * time.Second)
		if !silent(b.Outbox) {
			t.Fatal("got an API that answers, want none")
		}
		b.Retain(0, func(probe.ID) bool { return false })
		if silent(b.Outbox) {
			t.Error("got silence, though nothing waits to be sent")
		}
		n.mend()
	})
}
