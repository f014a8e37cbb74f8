package duty

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// delayed delivers the answers of next later by d, though next has acted at once.
func delayed(next http.Handler, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v3/watch" {
			next.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// model runs three daemons and a cluster of etcd through random faults, with clocks of
// the given rates. It returns at how many moments two daemons were on duty, and how
// often the duty was taken.
func model(t *testing.T, seed uint64, etcdRate float64, rates [3]float64) (overlaps int, takeovers uint64) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		f := newFakeEtcd(t)
		f.rate = etcdRate
		var daemons [3]*daemon
		begin := func(i int) {
			d := newDaemon(t, fmt.Sprintf("host-%c", 'a'+i), three(f), nil)
			// Answers may lie on the way for longer than the term, as if the process
			// was stopped.
			d.client.wait = 30 * time.Second
			d.rate = rates[i]
			d.decided = d.clock()
			daemons[i] = d.start()
		}
		end := func(i int) {
			takeovers += daemons[i].State().Takeovers
			daemons[i].stop()
		}
		each := func(d *daemon, h http.Handler) {
			for _, l := range d.lines {
				l.set(h)
			}
		}
		heal := func(d *daemon) {
			each(d, nil)
			d.set(func() { d.alive, d.api, d.try = nil, APIView{Answered: time.Now()}, nil })
		}
		look := func(d time.Duration) {
			for stop := time.Now().Add(d); time.Now().Before(stop); {
				wait(40 * time.Millisecond)
				on := 0
				for _, d := range daemons {
					if d.Scope() == Everything {
						on++
					}
				}
				if on > 1 {
					overlaps++
				}
			}
		}
		for i := range daemons {
			begin(i)
		}
		for range 120 {
			i := random.IntN(3)
			d := daemons[i]
			switch random.IntN(9) {
			case 0:
				each(d, silent)
			case 1:
				each(d, answers(500, "text/plain", "oh"))
			case 2, 3:
				each(d, delayed(f, time.Duration(random.IntN(20))*time.Second))
			case 4:
				end(i)
				begin(i)
			case 5: // killed: nothing is given back
				each(d, silent)
				end(i)
				begin(i)
			case 6:
				d.set(func() { d.alive = errors.New("it hangs") })
			case 7:
				d.set(func() { d.api.InVain, d.try = true, errors.New("no answer") })
			case 8:
				for _, d := range daemons {
					d.lines[fmt.Sprintf("e%d", 1+random.IntN(3))].set(silent)
				}
			}
			look(time.Duration(random.IntN(15000)) * time.Millisecond)
			if random.IntN(3) > 0 {
				heal(d)
				look(time.Duration(random.IntN(10000)) * time.Millisecond)
			}
		}
		for _, d := range daemons {
			heal(d)
		}
		look(100 * time.Second) // what lies on the way first
		on := 0
		for i, d := range daemons {
			switch d.Scope() {
			case Everything:
				on++
			case Alive:
				t.Errorf("seed %d: %s has no engine, after all is well\n%s", seed, d.name, d.log)
			}
			end(i)
		}
		if on != 1 {
			t.Errorf("seed %d: %d on duty, after all is well", seed, on)
		}
	})
	return overlaps, takeovers
}

// With clocks whose rates agree within 5 %, never two are on duty.
func TestNeverTwoOnDuty(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 2))
		rate := func() float64 { return 0.975 + 0.05*random.Float64() }
		if seed%2 == 0 { // the worst of what is permitted
			rate = func() float64 { return 0.975 + 0.05*float64(random.IntN(2)) }
		}
		overlaps, takeovers := model(t, seed, rate(), [3]float64{rate(), rate(), rate()})
		if overlaps > 0 {
			t.Errorf("seed %d: two on duty at %d moments", seed, overlaps)
		}
		if takeovers < 10 {
			t.Errorf("seed %d: the duty was taken %d times only: the test tests nothing", seed, takeovers)
		}
	}
}

// With clocks at half the rate two are on duty: the test above can fail.
func TestTwoOnDutyWhereClocksRunAtHalfTheRate(t *testing.T) {
	overlaps := 0
	for seed := range uint64(3) {
		n, _ := model(t, seed, 1, [3]float64{0.5, 0.5, 0.5})
		overlaps += n
	}
	if overlaps == 0 {
		t.Error("nobody was on duty beside another, with clocks at half the rate")
	}
}

// A clock that runs fast ends a term early, which harms nobody.
func TestAClockThatRunsFast(t *testing.T) {
	if n, _ := model(t, 1, 1, [3]float64{2, 2, 2}); n > 0 {
		t.Errorf("two on duty at %d moments", n)
	}
}
