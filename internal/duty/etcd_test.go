package duty

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func one(f *fakeEtcd) map[string]http.Handler { return map[string]http.Handler{"e1": f} }

func three(f *fakeEtcd) map[string]http.Handler {
	return map[string]http.Handler{"e1": f, "e2": f, "e3": f}
}

// bubble runs a test in faked time, with a cluster. Daemons that it starts must be
// stopped by it.
func bubble(t *testing.T, test func(*testing.T, *fakeEtcd)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFakeEtcd(t)) })
}

func TestOneIsOnDutyAndTheNextTakesOverAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Second)
		expect(t, "beside each other", Everything, a)
		expect(t, "beside each other", Nothing, b)
		if s := b.State(); s.Holder != "host-a" || s.Why != "host-a is on duty" || len(s.Members) != 2 || s.Takeovers != 0 {
			t.Errorf("state of the standby: %+v", s)
		}
		wait(time.Hour)
		expect(t, "after an hour", Everything, a)
		expect(t, "after an hour", Nothing, b)
		a.stop()
		wait(500 * time.Millisecond)
		expect(t, "after the other ended", Everything, b)
		if s := b.State(); s.Holder != "host-b" || s.Takeovers != 1 || s.Why != "host-a is no longer on duty" || len(s.Members) != 1 {
			t.Errorf("state of the new holder: %+v", s)
		}
		expect(t, "ended", Nothing, a)
		a.said(t, "on duty:", 1)
		b.said(t, "standby:", 1)
		b.said(t, "on duty:", 1)
		b.stop()
		if len(f.keys) != 0 || len(f.leases) != 0 {
			t.Errorf("left behind: %v", f.under(""))
		}
	})
}

// An idle group must not fill etcd's disks: it keeps every revision.
func TestAnIdleGroupWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Minute)
		var writes int
		f.by(func() { writes = f.writes })
		wait(time.Hour)
		f.by(func() {
			if f.writes != writes {
				t.Errorf("%d writes in an idle hour", f.writes-writes)
			}
		})
		if a.tries+b.tries > 0 {
			t.Errorf("the API was asked %d times", a.tries+b.tries)
		}
		a.set(func() { a.seen = [3]int{5, 1, 2} })
		wait(20 * time.Second)
		if m := b.State().Members[0]; m != (Member{"host-a", "2.1.0", 5, 1, 2, false}) {
			t.Errorf("what host-a sees: %+v", m)
		}
		a.stop()
		b.stop()
	})
}

// The engine's outage silences nobody, and nobody reports dead in it.
func TestAnEngineThatIsGone(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"stopped": silent,
		"500":     answers(500, "text/plain", "oh"),
		"slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
		}),
		"endless": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}),
		"HTML":      answers(200, "text/html", "<html>"),
		"404":       answers(404, "text/plain", "Not Found"),
		"redirect":  http.RedirectHandler("http://elsewhere/", http.StatusFound),
		"no quorum": answers(503, "application/json", `{"error":"etcdserver: request timed out","message":"etcdserver: request timed out","code":14}`),
		"empty":     answers(200, "application/json", `{}`),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeEtcd) {
				a := newDaemon(t, "host-a", three(f), nil).start()
				wait(time.Second)
				b := newDaemon(t, "host-b", three(f), nil).start()
				wait(5 * time.Second)
				all := func(h http.Handler) {
					for _, d := range []*daemon{a, b} {
						for _, l := range d.lines {
							l.set(h)
						}
					}
				}
				all(h)
				wait(9*time.Second + 100*time.Millisecond)
				expect(t, "after the term", Nothing, a, b)
				wait(6 * time.Second)
				expect(t, "after TTL and patience", Alive, a, b)
				if s := a.State(); s.Trouble == "" || s.TroubleAt.IsZero() || s.Holder != "" {
					t.Errorf("state: %+v", s)
				}
				wait(time.Minute)
				expect(t, "later", Alive, a, b)
				all(nil)
				wait(15 * time.Second)
				if a.Scope()+b.Scope() != Everything {
					t.Errorf("after the engine's return: %v and %v", a.Scope(), b.Scope())
				}
				for _, d := range []*daemon{a, b} {
					d.said(t, "etcd does not say who is on duty", 1)
					d.said(t, "etcd says again", 1)
					d.said(t, "no engine says", 1)
					d.stop()
				}
			})
		})
	}
}

// A daemon that has never reached the engine waits as long as others may be on duty.
func TestAnEngineThatWasNeverThere(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil)
		a.lines["e1"].set(silent)
		a.start()
		wait(14900 * time.Millisecond)
		expect(t, "before", Nothing, a)
		wait(200 * time.Millisecond)
		expect(t, "after", Alive, a)
		select {
		case <-a.Changed():
		default:
			t.Error("the change was not told")
		}
		a.stop()
	})
}

// If one etcd of three is stopped, the holder stays on duty.
func TestOneEtcdIsStopped(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", three(f), nil).start()
		wait(5 * time.Second)
		for _, host := range []string{"e1", "e2", "e3", "e1"} {
			a.lines[host].set(silent)
			for range 300 {
				wait(100 * time.Millisecond)
				expect(t, host, Everything, a)
			}
			a.lines[host].set(nil)
		}
		a.said(t, "etcd does not say", 0)
		a.stop()
	})
}

// A holder that is cut off reports nothing from the end of its term, which comes
// before the other one's begins.
func TestTheHolderIsCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(5 * time.Second)
		a.lines["e1"].set(silent)
		took := time.Duration(0)
		for began := time.Now(); took == 0; wait(10 * time.Millisecond) {
			if a.Scope() == Everything && b.Scope() == Everything {
				t.Fatal("two on duty")
			}
			if b.Scope() == Everything {
				took = time.Since(began)
			}
			if time.Since(began) > 12*time.Second {
				t.Fatal("nobody took over")
			}
		}
		if took > 11*time.Second {
			t.Errorf("taken over after %v", took)
		}
		wait(10 * time.Second)
		expect(t, "cut off for long", Alive, a)
		a.lines["e1"].set(nil)
		wait(5 * time.Second)
		expect(t, "back", Nothing, a)
		expect(t, "back", Everything, b)
		a.stop()
		b.stop()
	})
}

// A pass that fails because the host was suspended in it is no silence of etcd: the next
// pass decides.
func TestSuspendedInAPass(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		a.lines["e1"].set(silent)
		wait(2500 * time.Millisecond) // into a pass
		a.suspended.Store(int64(time.Minute))
		a.lines["e1"].set(nil)
		wait(10 * time.Second)
		expect(t, "awake", Everything, a)
		a.said(t, "no engine says", 0)
		a.stop()
	})
}

// Without progress the lease is not renewed.
func TestADaemonThatMakesNoProgress(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Second)
		a.set(func() { a.alive = errors.New("the scheduler hangs") })
		wait(13 * time.Second)
		expect(t, "hanging", Nothing, a)
		expect(t, "hanging", Everything, b)
		a.said(t, "the lease is not renewed", 1)
		a.set(func() { a.alive = nil })
		wait(5 * time.Second)
		a.said(t, "the lease is renewed again", 1)
		b.stop()
		wait(time.Second)
		expect(t, "turning again", Everything, a)
		a.stop()
	})
}

func TestLeaseRevokedAndKeysDeletedByHand(t *testing.T) {
	for name, hand := range map[string]func(*fakeEtcd){
		"lease": func(f *fakeEtcd) { f.revoke(1) },
		"key":   func(f *fakeEtcd) { f.remove(groupPrefix("office") + "election/1") },
		"all": func(f *fakeEtcd) {
			for _, key := range f.under("") {
				f.remove(key)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fakeEtcd) {
				a := newDaemon(t, "host-a", one(f), nil).start()
				wait(time.Second)
				b := newDaemon(t, "host-b", one(f), nil).start()
				wait(time.Second)
				expect(t, "before", Everything, a)
				f.by(func() { hand(f) })
				for range 100 {
					wait(5 * time.Millisecond)
					if a.Scope() == Everything && b.Scope() == Everything {
						t.Fatal("two on duty")
					}
				}
				if a.Scope()+b.Scope() != Everything {
					t.Errorf("right after: %v and %v", a.Scope(), b.Scope())
				}
				wait(5 * time.Second)
				if a.Scope()+b.Scope() != Everything {
					t.Errorf("later: %v and %v", a.Scope(), b.Scope())
				}
				a.said(t, "seeking the duty again", 1)
				if got := len(a.State().Members); got != 2 {
					t.Errorf("%d members", got)
				}
				a.stop()
				b.stop()
			})
		})
	}
}

// The daemon of another page stays out, whether it was started first or last, and keeps
// no other from reporting.
func TestAnotherPage(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-b", one(f), func(s *EtcdSettings) { s.Page = "other" }).start()
		wait(time.Minute)
		expect(t, "the right one", Everything, a)
		expect(t, "the wrong one", Alive, b)
		b.said(t, "is of another page", 2) // the reason, of two lines
		if s := b.State(); !strings.Contains(s.Trouble, `group \"office\" is of another page`) && !strings.Contains(s.Trouble, `group "office" is of another page`) {
			t.Errorf("trouble: %q", s.Trouble)
		}
		b.said(t, lostLine, 0)
		b.said(t, "etcd answers, but this daemon cannot take part in its group", 1)
		if len(a.State().Members) != 1 {
			t.Errorf("members: %+v", a.State().Members)
		}
		a.stop()
		wait(5 * time.Second)
		expect(t, "alone", Everything, b)
		b.stop()
	})
}

func TestTheSameNameTwice(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Minute)
		expect(t, "first", Everything, a)
		expect(t, "second", Nothing, b)
		a.said(t, `is called \"host-a\", too`, 1)
		b.said(t, `is called \"host-a\", too`, 1)
		s := b.State()
		if m := s.Members; len(m) != 2 || m[0].Name == m[1].Name {
			t.Errorf("members: %+v", m)
		}
		for _, d := range []*daemon{a, b} {
			named := 0
			for _, m := range d.State().Members {
				if m.Name == d.State().Member {
					named++
				}
			}
			if named != 1 {
				t.Errorf("got %q as the name of this daemon among %+v, want that of one of them", d.State().Member, d.State().Members)
			}
		}
		if a.State().Member == b.State().Member {
			t.Errorf("got %q of both, want a name of each", a.State().Member)
		}
		if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], `is called "host-a", too`) || s.Trouble != "" {
			t.Errorf("got the warnings %q and the trouble %q, want that the name is taken, and no trouble", s.Warnings, s.Trouble)
		}
		a.stop()
		wait(5 * time.Second)
		if w := b.State().Warnings; len(w) > 0 {
			t.Errorf("got the warnings %q without the namesake, want none", w)
		}
		b.stop()
	})
}

// A daemon that was killed and started again is not taken for a namesake of itself.
func TestStartedAgainAfterAKill(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		a.lines["e1"].set(silent) // so that it gives nothing back
		a.stop()
		b := newDaemon(t, "host-a", one(f), nil).start()
		wait(12 * time.Second)
		expect(t, "again", Everything, b)
		wait(time.Minute)
		b.said(t, "too: give", 0)
		b.stop()
	})
}

func TestUserAndPassword(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		f.password = "secret"
		var password atomic.Value
		password.Store("wrong")
		a := newDaemon(t, "host-a", one(f), func(s *EtcdSettings) {
			s.User, s.Password = "u", func() (string, error) { return password.Load().(string), nil }
		}).start()
		wait(time.Minute)
		expect(t, "wrong password", Alive, a)
		a.said(t, "correct user", 2)
		password.Store("secret")
		wait(5 * time.Second)
		expect(t, "right password", Everything, a)
		f.by(func() { clear(f.tokens); f.tokens["x"] = true }) // they expired
		for range 100 {
			wait(100 * time.Millisecond)
			expect(t, "logged in again", Everything, a)
		}
		f.by(func() { f.denied = "/crisp-status-local/v1/office/" })
		wait(time.Minute)
		expect(t, "denied", Alive, a)
		a.said(t, "etcdctl role grant-permission ROLE readwrite --prefix=true /crisp-status-local/v1/office/", 3)
		if strings.Contains(a.log.String(), "secret") {
			t.Error("the password is in the log")
		}
		a.stop()
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Minute)
		expect(t, "without a user", Alive, b)
		b.said(t, "set user and password_file", 2)
		b.stop()
	})
}

// A user is named, but etcd has no authentication: it goes on.
func TestUserForAnEtcdWithout(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), func(s *EtcdSettings) {
			s.User, s.Password = "u", func() (string, error) { return "secret", nil }
		}).start()
		wait(5 * time.Second)
		expect(t, "not enabled", Everything, a)
		wait(time.Hour)
		const warning = "etcd asks nobody for a user, so user and password_file in [cluster] have no effect"
		a.said(t, warning, 1)
		if w := a.State().Warnings; len(w) != 1 || !strings.Contains(w[0], warning) || !strings.Contains(w[0], "etcdctl auth enable") {
			t.Errorf("got the warnings %q, want one with %q and the cure", w, warning)
		}
		f.by(func() { f.password = "secret" })
		wait(time.Minute)
		expect(t, "enabled", Everything, a)
		if w := a.State().Warnings; len(w) > 0 {
			t.Errorf("got the warnings %q once it is enabled, want none", w)
		}
		a.stop()
	})
}

// If the database of etcd is full, the holder stays on duty.
func TestADatabaseThatIsFull(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		f.by(func() { f.full = true })
		a.set(func() { a.seen[0] = 7 })
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Minute)
		expect(t, "on duty", Everything, a)
		expect(t, "new", Alive, b)
		a.said(t, "cannot be written", 1)
		if w := a.State().Warnings; len(w) != 1 || !strings.Contains(w[0], "alarm disarm") {
			t.Errorf("got the warnings %q, want the cure", w)
		}
		b.said(t, "alarm disarm", 2)
		a.stop()
		b.stop()
	})
}

// A key that is no member's must not keep all daemons from reporting.
func TestAStrayKeyOfTheElection(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		f.by(func() { f.put(groupPrefix("office")+"election/0", []byte("x"), 0) })
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(16 * time.Second)
		expect(t, "stray key", Alive, a)
		a.said(t, "delete it by etcdctl del", 2)
		f.by(func() { f.remove(groupPrefix("office") + "election/0") })
		wait(time.Second)
		expect(t, "deleted", Everything, a)
		a.stop()
	})
}

func TestAnotherCluster(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		other := newFakeEtcd(t)
		other.cluster = "8"
		ways := map[string]http.Handler{"e1": f, "e2": other}
		a := newDaemon(t, "host-a", ways, nil).start()
		wait(5 * time.Second)
		a.lines["e1"].set(silent)
		wait(time.Minute)
		expect(t, "one endpoint is of another cluster", Alive, a)
		a.said(t, `why="http://e2 is of cluster 8`, 1) // at the start; then the silence of the first one was first
		if trouble := a.State().Trouble; !strings.Contains(trouble, "http://e1 does not answer") || !strings.Contains(trouble, "http://e2 is of cluster 8") {
			t.Errorf("got the trouble %q, want that of both endpoints", trouble)
		}
		a.lines["e1"].set(other) // it was set up anew
		wait(time.Minute)
		expect(t, "all are of the new one", Everything, a)
		a.said(t, "following it", 1)
		a.stop()
	})
}

// Records of newer versions, with unknown fields, are understood; malformed ones do no
// harm.
func TestRecordsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		prefix := groupPrefix("office")
		f.by(func() {
			f.leases[90] = &fakeLease{ttl: 1e6, end: time.NewTimer(1e6 * time.Hour)}
			f.leases[91] = f.leases[90]
			f.put(prefix+"members/newer/90", []byte(`{"format":2,"member":"newer","version":"9","page":"page","healthy":3,"eyes":[1,{"a":2}],"instance":"x"}`), 90)
			f.put(prefix+"members/odd/91", []byte(`"`), 91)
			f.put(prefix+"members/", nil, 0)
			f.put(prefix+"later/x", []byte("y"), 0)
			f.put(prefix+"election/90", []byte("newer"), 90)
		})
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(5 * time.Second)
		expect(t, "beside a newer one", Nothing, a)
		if s := a.State(); s.Holder != "newer" || len(s.Members) != 3 || fmt.Sprint(s.Members[1]) != "{newer 9 3 0 0 false}" {
			t.Errorf("state: %+v", s)
		}
		f.by(func() { f.revoke(90) })
		wait(time.Second)
		expect(t, "the newer one left", Everything, a)
		a.stop()
	})
}

// A holder that the Status API does not answer gives the duty to a member that it answers.
func TestTheAPIAnswersAnotherMember(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		gone := errors.New("no answer")
		a := newDaemon(t, "host-a", one(f), nil).start()
		wait(time.Second)
		b := newDaemon(t, "host-b", one(f), nil).start()
		wait(time.Second)
		c := newDaemon(t, "host-c", one(f), nil).start()
		wait(time.Minute)
		b.set(func() { b.try = gone })
		c.set(func() { c.try = gone })
		a.set(func() { a.api = APIView{Answered: time.Now(), InVain: true}; a.try = gone })
		wait(5 * time.Minute)
		expect(t, "nobody is answered", Everything, a)
		c.set(func() { c.try = nil })
		wait(20 * time.Second)
		expect(t, "one is answered", Everything, c)
		expect(t, "one is answered", Nothing, a, b)
		a.set(func() { a.api.InVain = false }) // it sends nothing now
		wait(10 * time.Minute)
		expect(t, "later", Everything, c)
		a.said(t, "on duty:", 1)
		a.said(t, "answers another member", 1)
		tries := c.tries
		wait(time.Minute)
		if c.tries != tries {
			t.Error("the holder asks the API")
		}

		// The others are still not answered: they are out of the line, until nobody
		// else is there.
		c.stop()
		wait(5 * time.Second)
		if a.Scope()+b.Scope() != Everything {
			t.Errorf("without the other: %v and %v", a.Scope(), b.Scope())
		}
		a.stop()
		b.stop()
	})
}

// If the API gives every member the map, and takes no report from any, the duty does not
// keep changing hands; as soon as it takes reports, all is as before.
func TestTheAPITakesReportsFromNobody(t *testing.T) {
	bubble(t, func(t *testing.T, f *fakeEtcd) {
		var broken atomic.Bool
		var members []*daemon
		for _, name := range []string{"host-a", "host-b"} {
			var d *daemon
			taken := time.Now()
			d = newDaemon(t, name, one(f), func(s *EtcdSettings) {
				s.API = func() APIView {
					holds := d.Scope() == Everything
					if holds && !broken.Load() {
						taken = time.Now()
					}
					return APIView{InVain: holds && broken.Load(), Answered: time.Now(), Taken: taken}
				}
			})
			d.start()
			members = append(members, d)
			wait(time.Second)
		}
		wait(time.Minute)
		takeovers := func() (n uint64) {
			for _, d := range members {
				n += d.State().Takeovers
			}
			return n
		}
		for range 2 {
			before := takeovers()
			broken.Store(true)
			wait(time.Hour)
			if n := takeovers() - before; n < 4 || n > 30 {
				t.Errorf("got %d takeovers in an hour, want some that become rare", n)
			}
			broken.Store(false)
			wait(10 * time.Minute)
			if members[0].Scope()+members[1].Scope() != Everything {
				t.Errorf("got %v and %v, want one on duty", members[0].Scope(), members[1].Scope())
			}
		}
		for _, d := range members {
			d.stop()
		}
	})
}

// An age that no daemon writes is not taken for a fresh answer.
func TestAgesOfAnswers(t *testing.T) {
	seen := sightings{"key": {1, time.Minute}}
	for age, want := range map[float64]bool{0: true, 14: true, 15: false, -1: false, 1e300: false, -1e300: false, 1e10: false} {
		if got := seen.fresh(member{record: record{API: true, APIAge: age}, key: "key"}, time.Minute); got != want {
			t.Errorf("got fresh %v with an age of %g s, want %v", got, age, want)
		}
	}
}

// A try shows the group, and takes no part in it.
func TestBadSettings(t *testing.T) {
	good := EtcdSettings{Endpoints: []string{"http://127.0.0.1:2379/"}, Group: "g", Member: "m", TTL: 10 * time.Second}
	if _, err := NewEtcd(good, noLog()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*EtcdSettings){
		"endpoints: name at least one":           func(s *EtcdSettings) { s.Endpoints = nil },
		"endpoints: number 1 is not of the form": func(s *EtcdSettings) { s.Endpoints = []string{"127.0.0.1:2379"} },
		"endpoints: number 2 has a user":         func(s *EtcdSettings) { s.Endpoints = []string{"http://a", "http://u:secret@b"} },
		"group:":                                 func(s *EtcdSettings) { s.Group = "" },
		"member:":                                func(s *EtcdSettings) { s.Member = "" },
		"ttl:":                                   func(s *EtcdSettings) { s.TTL = time.Second },
		"password_file:":                         func(s *EtcdSettings) { s.User = "u" },
	} {
		s := good
		spoil(&s)
		_, err := NewEtcd(s, noLog())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
